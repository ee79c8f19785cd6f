"""Mean teacher against a plain computation of its definition, and in runs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from smskd import StageConfig
from smskd.anchors.l2_sp import L2SP
from smskd.anchors.mean_teacher import MeanTeacher, probability_mse
from smskd.errors import UserError
from smskd.interfaces.terms import Anchor
from smskd.objective import build_objective
from smskd.recipe import Recipe
from smskd.runs.folder import RunFolder
from smskd.strategies.spot_adaptive import SpotAdaptive
from smskd.training.state import TrainingState
from tests.support import tiny

STAGES: list[tuple[StageConfig, tiny.Methods]] = [(StageConfig(ends_after=2), ["kd"]), (StageConfig(), ["fitnet"])]


def recipe(anchor: Anchor, **options: Any) -> Recipe:
    return tiny.recipe(STAGES, epochs=4, anchor=anchor, **options)


def averaged(average: dict[str, Tensor], now: dict[str, Tensor], alpha: float) -> dict[str, Tensor]:
    return {
        name: alpha * average[name] + (1 - alpha) * value if value.is_floating_point() else value.clone()
        for name, value in now.items()
    }


@pytest.mark.parametrize("decay", [0.0, 0.6, 0.999])
@pytest.mark.parametrize("distance", ["kl", "mse"])
def test_equals_the_definition_step_by_step(decay: float, distance: Any) -> None:
    student = tiny.student().double()
    example = tiny.EXAMPLE.double()
    anchor = MeanTeacher(2.0, decay, distance, temperature=3.0)
    objective = build_objective(student, methods=(), example=example, anchor=anchor)
    objective.double()
    optimizer = torch.optim.SGD([p for g in objective.parameter_groups() for p in g.parameters], lr=0.5)
    assert len(optimizer.param_groups[0]["params"]) == len(list(student.parameters()))
    average, plain = tiny.bits(student), tiny.student().double().eval()
    objective.train()
    generator = torch.Generator().manual_seed(1)
    for number in range(4):
        if number:
            average = averaged(average, tiny.bits(student), min(1 - 1 / (number + 1), decay))
        x = torch.randn(6, *tiny.SHAPE, generator=generator, dtype=torch.float64)
        y = torch.arange(6)
        losses = objective((x, y))
        plain.load_state_dict(average)
        with torch.no_grad():
            reference = plain(x)
        z = losses.logits.detach()
        if distance == "mse":
            expected = 2 * F.mse_loss(z.softmax(1), reference.softmax(1))
        else:
            expected = 2 * 9 * F.kl_div((z / 3).log_softmax(1), (reference / 3).softmax(1), reduction="batchmean")
        torch.testing.assert_close(losses.parts["anchor"].detach(), expected, rtol=1e-9, atol=1e-12)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()


def test_the_average_receives_no_gradient() -> None:
    student, average = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    probability_mse(student, average).backward()
    assert student.grad is not None
    assert average.grad is None


def test_the_average_stays_in_eval_mode_and_is_not_trained() -> None:
    objective = build_objective(tiny.student(), methods=(), example=tiny.EXAMPLE, anchor=MeanTeacher())
    objective.train()
    average = objective.term_states[-1]
    assert not any(module.training for module in average.modules())
    assert not any(parameter.requires_grad for parameter in average.parameters())


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("anchor", [MeanTeacher(decay=0.9), L2SP(toward="start")], ids=["mean_teacher", "l2_sp"])
def test_resumed_within_a_stage_it_ends_bit_identical(epochs: int, anchor: Anchor, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    cut.mkdir()
    tiny.trained(tiny.built(recipe(anchor)), whole)
    reports = tiny.epochs_of(tiny.built(recipe(anchor)), cut)
    for _ in range(epochs):
        next(reports)
    reports.close()
    tiny.trained(tiny.built(recipe(anchor)), cut)
    assert tiny.outcome(cut) == tiny.outcome(whole)
    found, expected = (RunFolder(folder).load_checkpoint() for folder in (cut, whole))
    assert found is not None
    assert expected is not None
    assert tiny.same(dict(found.tensors), dict(expected.tensors))


def test_it_acts_in_every_stage_and_begins_each_as_the_student(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    reports = tiny.trained(tiny.built(recipe(MeanTeacher(decay=0.9))), folder)
    assert [report.losses["anchor"] > 0 for report in reports] == [True] * 4
    assert [stage["anchor"] for stage in tiny.summary(folder)["stages"]] == ["mean_teacher"] * 2
    state = TrainingState(tiny.built(recipe(MeanTeacher())))
    state.begin_stage(0)
    own = tiny.bits(state.objective.term_states[-1])
    average = {name.removeprefix("network."): value for name, value in own.items() if name != "steps"}
    assert tiny.same(average, tiny.bits(state.student))


def test_a_weight_of_zero_runs_no_average() -> None:
    objective = build_objective(tiny.student(), methods=(), example=tiny.EXAMPLE, anchor=MeanTeacher(0.0))
    assert len(objective.term_states) == 0


def test_with_spot_adaptive_distillation(tmp_path: Path) -> None:
    made = tiny.built(recipe(MeanTeacher(decay=0.9), strategy=SpotAdaptive()))
    reports = tiny.trained(made, tmp_path / "run")
    assert all(report.losses["anchor"] > 0 and report.losses["policy.graft"] > 0 for report in reports)


def test_l2_sp_toward_the_start_holds_later_stages_near_the_first_weights() -> None:
    state = TrainingState(tiny.built(recipe(L2SP(toward="start"))))
    before = tiny.bits(state.student)
    for index in range(2):
        state.begin_stage(index)
        for item in tiny.loader().epoch(index):
            state.step(item)
        state.end_stage()
        reference: Any = state.objective.parts.reference  # type: ignore[attr-defined]
        assert tiny.same(tiny.bits(reference), before)
    assert not tiny.same(tiny.bits(state.student), before)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"decay": 1.0}, "decay must be 0 or more and less than 1, not 1.0"),
        ({"decay": -0.1}, "decay must be 0 or more"),
        ({"distance": "l2"}, "unknown distance 'l2'"),
        ({"weight": -1.0}, "weight must be 0 or more"),
        ({"temperature": 0.0}, "temperature must be positive"),
    ],
)
def test_refuses_values_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MeanTeacher(**values)
    with pytest.raises(UserError, match="unknown toward 'end'"):
        L2SP(toward="end")  # type: ignore[arg-type]
