"""AB, FSP and FT: the phase before the stage, and the loss in the stage."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, ModelInfo
from smskd.interfaces.terms import Method
from smskd.methods.ab import AB, ab_loss
from smskd.methods.fsp import FSP, fsp_loss
from smskd.methods.ft import FT
from smskd.models import create
from smskd.objective import build_objective
from smskd.registry import METHODS
from smskd.testing.expect import total
from smskd.testing.inputs import DATA
from tests.support.method_inputs import STUDENT, TEACHER, build, case, read_names

DEFAULTS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "defaults.json").read_text())


BOUNDARY_METHODS = [AB, FSP]


def _run(method: Method, phase: str) -> dict[str, Tensor]:
    torch.manual_seed(0)
    state, inputs = build(method), case(method).inputs(6)
    return (method.loss if phase == "stage" else method.pretraining_loss)(inputs, state)


def test_the_defaults_are_the_published_ones() -> None:
    published = DEFAULTS["_about"]["two_stage_methods"]
    assert published["methods"] == ["ab", "fsp", "ft"]
    assert {method().init_epochs for method in (AB, FSP, FT)} == {published["init_epochs"]}
    assert AB().margin == DEFAULTS["ab"]["hyperparameters"]["margin"]
    ft = DEFAULTS["ft"]["hyperparameters"]
    assert (FT().paraphrase_rate, FT().factor_power, FT().difference_power) == (ft["k"], ft["p1"], ft["p2"])


@pytest.mark.parametrize("method", BOUNDARY_METHODS)
def test_ab_and_fsp_contribute_nothing_in_the_stage(method: type[AB | FSP]) -> None:
    parts = _run(method(), "stage")
    assert [part.tolist() for part in parts.values()] == [[0.0] * 6]


@pytest.mark.parametrize("method", BOUNDARY_METHODS)
def test_main_stage_brings_the_loss_of_the_phase_into_the_stage(method: type[AB | FSP]) -> None:
    before, within = _run(method(), "phase"), _run(method(main_stage=True), "stage")
    assert before.keys() == within.keys()
    assert all(torch.equal(before[name], within[name]) and (within[name] > 0).all() for name in before)


@pytest.mark.parametrize("method", BOUNDARY_METHODS)
def test_a_method_without_any_effect_is_refused(method: type[AB | FSP]) -> None:
    with pytest.raises(UserError, match=rf"init_epochs 0 leaves {method.__name__} without any effect"):
        method(init_epochs=0)
    assert method(init_epochs=0, main_stage=True).pretraining(ModelInfo((), 5)) is None


@pytest.mark.parametrize("method", [AB, FSP, FT])
def test_the_epochs_of_the_phase_are_a_whole_number(method: type[AB | FSP | FT]) -> None:
    with pytest.raises(UserError, match="init_epochs must be a whole number of 0 or more, not -1"):
        method(init_epochs=-1)
    with pytest.raises(UserError, match=r"init_epochs must be a whole number of 0 or more, not 1\.5"):
        method(init_epochs=1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", BOUNDARY_METHODS)
def test_ab_and_fsp_train_the_student(method: type[AB | FSP]) -> None:
    pretraining = method(init_epochs=3).pretraining(ModelInfo((), 5, family="ResNet"))
    assert pretraining is not None
    assert (pretraining.epochs, pretraining.trains_student, pretraining.learning_rate) == (3, True, None)


def test_ab_by_hand() -> None:
    teacher = torch.tensor([[[[1.0, 1.0, 0.0, -1.0]]]])
    connected = torch.tensor([[[[0.5, 2.0, 0.5, -2.0]]]])
    assert float(ab_loss(connected, teacher, 1.0)) == pytest.approx((0.5**2 + 0 + 1.5**2 + 0) * 0.003)


def test_ab_refuses_a_margin_of_zero() -> None:
    with pytest.raises(UserError, match="margin must be positive, not 0"):
        AB(margin=0)


def test_ab_connects_only_where_shapes_differ() -> None:
    state = build(AB())
    connectors = [type(state.get_submodule(f"connector{level}")).__name__ for level in range(3)]
    assert connectors == ["ConvRegressor", "Identity", "ConvRegressor"]


def test_ab_reads_before_the_relu() -> None:
    layout = FeatureLayout(STUDENT.features, 5, frozenset({"stage1", "stage2"}))
    chosen = read_names(AB(), layout, TEACHER)
    assert chosen.student == ("stage1.preact", "stage2.preact", "stage3")
    assert chosen.teacher == ("stage1", "stage2", "stage3")


def test_ab_resizes_the_map_of_a_student_that_is_smaller_by_four() -> None:
    sides = ModelInfo(((8, 2, 2),), 5), ModelInfo(((8, 8, 8),), 5)
    (connector,) = AB().build(*sides, DATA).children()
    assert connector(torch.ones(2, 8, 2, 2)).shape == (2, 8, 8, 8)


def test_fsp_by_hand() -> None:
    first = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    second = torch.tensor([[[[2.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]]])
    # Products averaged over four positions: 2 / 4 and 10 / 4.
    zeros = (torch.zeros(1, 1, 5, 5), torch.zeros(1, 2, 3, 3))
    assert float(fsp_loss((first, second), zeros)) == pytest.approx((0.5**2 + 2.5**2) / 2)


def test_fsp_pools_the_larger_of_two_neighbours() -> None:
    first, second = torch.ones(1, 1, 4, 4), torch.full((1, 1, 2, 2), 3.0)
    first[:, :, ::2] = 3
    zeros = (torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2))
    assert float(fsp_loss((first, second), zeros)) == pytest.approx((2 * 3) ** 2)


def test_fsp_reads_the_stem_and_all_stages() -> None:
    assert read_names(FSP()).student == ("stem", "stage1", "stage2", "stage3")
    stemless = FeatureLayout({name: shape for name, shape in STUDENT.features.items() if name != "stem"}, 5)
    assert read_names(FSP(), stemless, STUDENT).teacher == ("stage1", "stage2", "stage3")


def test_fsp_pairs_the_last_stages_without_the_stem_where_one_model_has_more() -> None:
    more = FeatureLayout({"stem": (4, 8, 8), "stage0": (4, 8, 8)} | dict(STUDENT.features), 5)
    chosen = read_names(FSP(), STUDENT, more)
    assert chosen.student == chosen.teacher == ("stage1", "stage2", "stage3")


def test_fsp_refuses_models_of_other_widths() -> None:
    with pytest.raises(UserError) as caught:
        read_names(FSP(), STUDENT, TEACHER)
    assert str(caught.value) == (
        "FSP needs equal channel counts in each pair of maps; the student's stem has 4 and the teacher's stem 6"
    )


def test_fsp_refuses_a_single_map() -> None:
    single = FeatureLayout({"stage1": (4, 8, 8), "pooled": (4,)}, 5)
    with pytest.raises(UserError, match="FSP relates neighbouring maps, and these models have a single map in common"):
        read_names(FSP(), single, single)


@pytest.mark.parametrize(("method", "trains_student"), [("ab", True), ("fsp", True), ("ft", False)])
def test_the_phase_with_real_models(method: str, trains_student: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 3, 16, 16)
    student = create("resnet8", classes=5)
    objective = build_objective(student, create("resnet14", classes=5), methods=[method], example=x)
    (phase,) = objective.pretraining_phases()
    assert any(module is student for module in phase.modules) == trains_student
    pretrained = METHODS.find(method)().pretrained(objective.term_states[0]).requires_grad_(True)
    total(phase.loss(Batch(x, torch.tensor([0, 1, 2])))).backward()
    reached = [p for p in student.parameters() if p.grad is not None and p.grad.abs().max() > 0]
    assert bool(reached) == trains_student
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in pretrained.parameters())
