"""Anchors in the first stage: L2-SP pulls towards the initial weights, others need a previous stage."""

from pathlib import Path

import pytest
import torch

from smskd.anchors.l2_sp import L2SP
from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.optimization import OptimizerConfig
from smskd.config.stage import StageConfig
from smskd.errors import UserError
from smskd.interfaces.terms import Anchor
from smskd.strategies.resolve import resolve
from smskd.training.reports import EpochReport
from tests.support import tiny
from tests.support.stage_starts import StageStart


def trained(anchor: Anchor | None, folder: Path) -> tuple[list[EpochReport], float]:
    """The reports, and the distance of the student's kernels from their initial weights."""
    stages = [(StageConfig(ends_after=2), []), (StageConfig(), [])]
    wanted = tiny.recipe(stages, epochs=3, anchor=anchor, optimizer=OptimizerConfig(learning_rate=0.01))
    made = tiny.built(wanted)
    before = tiny.bits(made.student)
    reports = tiny.trained(made, folder)
    kernels = [(name, weight) for name, weight in made.student.named_parameters() if weight.dim() > 1]
    return reports, float(sum((weight.detach() - before[name]).square().sum() for name, weight in kernels))


def test_l2_sp_pulls_to_the_initial_weights(starts: list[StageStart], tmp_path: Path) -> None:
    reports, near = trained(L2SP(weight=10.0), tmp_path / "anchored")
    assert [report.losses["anchor"] > 0 for report in reports] == [True] * 3
    assert starts[0].reference is not None
    assert tiny.same(starts[0].reference, tiny.bits(tiny.student()))
    assert starts[1].reference is not None
    assert tiny.same(starts[1].reference, starts[1].student)
    assert [stage["anchor"] for stage in tiny.summary(tmp_path / "anchored")["stages"]] == ["l2_sp"] * 2
    _, free = trained(None, tmp_path / "free")
    assert near < 0.7 * free


def test_the_first_loss_of_l2_sp_is_zero(tmp_path: Path) -> None:
    """Before any step the student is where it is pulled to."""
    still = OptimizerConfig(learning_rate=1e-30, weight_decay=0.0)
    wanted = tiny.recipe([(StageConfig(), [])], epochs=1, anchor=L2SP(weight=10.0), optimizer=still)
    (report,) = tiny.trained(tiny.built(wanted), tmp_path)
    assert report.losses["anchor"] == 0.0


def test_an_inherited_reference_kl_is_not_applied(starts: list[StageStart], tmp_path: Path) -> None:
    reports, _ = trained(ReferenceKL(), tmp_path)
    assert ["anchor" in report.losses for report in reports] == [False, False, True]
    assert starts[0].reference is None
    assert [stage["anchor"] for stage in tiny.summary(tmp_path)["stages"]] == [None, "reference_kl"]


def test_an_explicit_reference_kl_is_refused() -> None:
    wanted = tiny.recipe([(StageConfig(anchor=ReferenceKL()), []), (StageConfig(), [])], epochs=3)
    with pytest.raises(UserError, match=r"^stages\.0\.anchor: reference_kl needs the student of a previous stage"):
        resolve(wanted)


@pytest.mark.parametrize("weight", [0.0, 0.4])
def test_an_anchor_of_weight_zero_is_none(weight: float, tmp_path: Path) -> None:
    stages = [(StageConfig(ends_after=1), ["fitnet"]), (StageConfig(), ["kd"])]
    for name, anchor in (("none", None), ("weighted", ReferenceKL(weight=weight))):
        tiny.trained(tiny.built(tiny.recipe(stages, epochs=2, anchor=anchor)), tmp_path / name)
    none, weighted = (tiny.outcome(tmp_path / name) for name in ("none", "weighted"))
    assert (none["weights"] == weighted["weights"]) == (weight == 0)
    assert (none["metrics"] == weighted["metrics"]) == (weight == 0)
    anchors = [stage["anchor"] for stage in weighted["summary"][0]["stages"]]
    assert anchors == [None, "reference_kl" if weight else None]


def test_the_initial_weights_are_a_copy(tmp_path: Path) -> None:
    """The student that is trained is not its own reference."""
    made = tiny.built(tiny.recipe([(StageConfig(), [])], epochs=1, anchor=L2SP(weight=1.0)))
    (report,) = tiny.trained(made, tmp_path)
    assert report.losses["anchor"] > 0
    assert not torch.equal(made.student.state_dict()["fc.weight"], tiny.student().state_dict()["fc.weight"])
