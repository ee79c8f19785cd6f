"""AB, FSP and FT: the phase before the stage, and the loss in the stage."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor

from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, ModelInfo
from smskd.interfaces.terms import Method
from smskd.methods.ab import AB, ab_loss
from smskd.methods.fsp import FSP, fsp_loss
from smskd.methods.ft import FT, ft_loss
from smskd.models import adapt, create
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


def _rate(family: str) -> float | None:
    pretraining = FT().pretraining(ModelInfo((), 5, family=family))
    assert pretraining is not None
    assert (pretraining.epochs, pretraining.trains_student) == (30, False)
    return pretraining.learning_rate


@pytest.mark.parametrize(
    ("name", "rate"),
    [("resnet8", 0.01), ("resnet8x4", 0.01), ("wrn_16_1", 0.01), ("ResNet50", None), ("vgg8", None)],
)
def test_ft_trains_the_paraphraser_slowly_before_resnets_and_wrns_of_the_zoo(name: str, rate: float | None) -> None:
    assert _rate(create(name, classes=5).family) == rate


def test_a_resnet_of_torchvision_is_not_one_of_the_zoo() -> None:
    model = adapt(torchvision.models.resnet18(num_classes=5), torch.zeros(2, 3, 32, 32))
    assert type(model.wrapped).__name__ == "ResNet"
    assert _rate(model.family) is None


def test_ft_without_the_phase() -> None:
    assert FT(init_epochs=0).pretraining(ModelInfo((), 5)) is None


def test_ft_trains_the_paraphraser_before_the_stage_and_the_translator_in_it() -> None:
    method = FT()
    state = build(method)
    trained = {name for name, parameter in state.named_parameters() if parameter.requires_grad}
    assert trained
    assert all(name.startswith("translator.") for name in trained)
    paraphraser = method.pretrained(state)
    assert paraphraser is state.get_submodule("paraphraser")
    assert len(trained) + len(list(paraphraser.parameters())) == len(list(state.parameters()))


def test_the_paraphraser_learns_to_reconstruct_the_teacher() -> None:
    torch.manual_seed(0)
    method = FT()
    state = build(method)
    paraphraser = method.pretrained(state).requires_grad_(True)
    optimizer = torch.optim.Adam(paraphraser.parameters(), lr=0.02)
    inputs = case(method).inputs(6)
    losses = []
    for _ in range(30):
        loss = total(method.pretraining_loss(inputs, state))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_the_mode_does_not_matter_to_the_paraphraser() -> None:
    paraphraser = FT().pretrained(build(FT()))
    before = {name: tensor.clone() for name, tensor in paraphraser.state_dict().items()}
    teacher = torch.randn(3, *TEACHER.features["stage3"])
    assert torch.equal(paraphraser.train()(teacher), paraphraser.eval()(teacher))
    assert all(torch.equal(before[name], tensor) for name, tensor in paraphraser.state_dict().items())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"paraphrase_rate": 0}, "paraphrase_rate must be positive, not 0"),
        ({"factor_power": 0}, "factor_power must be a whole number of 1 or more, not 0"),
        ({"difference_power": 1.5}, "difference_power must be a whole number of 1 or more, not 1.5"),
    ],
)
def test_a_value_out_of_range_is_refused_by_ft(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        FT(**fields)
    assert str(caught.value) == message


def test_a_paraphrase_of_no_channel_is_refused() -> None:
    with pytest.raises(UserError, match=r"paraphrase_rate 0\.05 leaves no channel of the teacher's 16"):
        build(FT(paraphrase_rate=0.05))


def test_ft_refuses_maps_of_a_single_position() -> None:
    with pytest.raises(UserError, match="FT compares spatial attention, and the smaller of the last maps is 1x1"):
        FT().build(ModelInfo(((8, 4, 1),), 5), ModelInfo(((8, 1, 4),), 5), DATA)
    assert FT().build(ModelInfo(((8, 4, 2),), 5), ModelInfo(((8, 1, 4),), 5), DATA)


def test_ft_pools_the_larger_factor_and_takes_the_absolute_difference() -> None:
    student, teacher = torch.zeros(1, 1, 2, 2), torch.ones(1, 3, 1, 2)
    student[0, 0, :, 0] = 4
    # Attention of the student over the two columns: (1, 0); of the teacher: (1, 1) / sqrt(2).
    by_hand = [1 - 0.5**0.5, 0.5**0.5]
    assert float(ft_loss(student, teacher, 2, 1)) == pytest.approx(sum(by_hand) / 2)
    assert float(ft_loss(student, teacher, 2, 3)) == pytest.approx(sum(x**3 for x in by_hand) / 2)


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


def test_ab_refuses_a_student_that_is_smaller_by_four() -> None:
    sides = ModelInfo(((8, 2, 2),), 5), ModelInfo(((8, 8, 8),), 5)
    with pytest.raises(UserError, match="no convolution maps the student's 8x2x2 to the teacher's 8x8x8"):
        AB().build(*sides, DATA)


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


def test_attention_of_ft_survives_a_factor_of_zero() -> None:
    student = torch.rand(3, 4, 4, 4)
    student[1] = 0
    student.requires_grad_()
    loss = ft_loss(student, torch.zeros(3, 2, 4, 4), 2, 1)
    loss.backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert student.grad.abs().max() < 10
    assert student.grad[1].abs().max() == 0
