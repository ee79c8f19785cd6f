"""A run that is killed at any moment and then resumed ends as if it had never been killed, bit by bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from smskd.config.optimization import OptimizerConfig
from smskd.config.stage import StageConfig
from smskd.errors import UserError
from smskd.interfaces.terms import WeightedMethod
from smskd.runs.folder import RunFolder
from smskd.training.config import RunConfig
from tests.support import tiny
from tests.support.kills import Killed, Killer
from tests.support.run_cases import STEPS, Pretrained, other_choices, pretraining_phases, three_stages

Make = Callable[[], RunConfig]
Uninterrupted = Callable[[Make], dict[str, Any]]


def trained(make: Make, folder: Path) -> dict[str, Any]:
    tiny.trained(make(), folder)
    RunFolder(folder).conclude()
    return tiny.outcome(folder)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted:
    """The outcome of each run that nobody kills, trained once."""
    known: dict[Make, dict[str, Any]] = {}

    def outcome(make: Make) -> dict[str, Any]:
        if make not in known:
            known[make] = trained(make, tmp_path_factory.mktemp("uninterrupted"))
        return known[make]

    return outcome


def interrupted(make: Make, folder: Path, killer: Killer, moment: str, time: int) -> None:
    killer.moment, killer.time = moment, time
    with pytest.raises(Killed):
        trained(make, folder)


def named(value: object) -> str:
    return str(value).replace(" ", "-")


MOMENTS = [
    ("before metrics", 1),
    *(("after metrics", time) for time in (1, 3, 6)),
    *(("in the middle of a line", time) for time in (1, 5)),
    *(("in the middle of checkpoint.safetensors", time) for time in (1, 4)),
    *(("after a checkpoint", time) for time in range(1, 7)),
    *(("a step", time) for time in (2, 3 * STEPS, 5 * STEPS - 1)),
    ("before the end of a stage", 2),
    *(("after the end of a stage", time) for time in (1, 3)),
    *(("in the middle of student.safetensors", time) for time in (1, 3, 4)),
    *(("after a student", time) for time in (2, 4)),
    *(("after the begin of a stage", time) for time in (1, 3)),
    ("before the summary", 1),
    ("in the middle of summary.json", 1),
    ("after the summary", 1),
    ("after the end", 1),
]


@pytest.mark.parametrize(("moment", "time"), MOMENTS, ids=named)
def test_killed_once(moment: str, time: int, killer: Killer, uninterrupted: Uninterrupted, tmp_path: Path) -> None:
    interrupted(three_stages, tmp_path, killer, moment, time)
    assert trained(three_stages, tmp_path) == uninterrupted(three_stages)
    assert RunFolder(tmp_path).finished


OTHER_MOMENTS = [
    *(("after metrics", time) for time in (3, 4, 5)),
    ("a step", 3 * STEPS + 2),
    ("in the middle of checkpoint.safetensors", 3),
    ("after the end of a stage", 3),
    ("after the begin of a stage", 3),
]


@pytest.mark.parametrize(("moment", "time"), OTHER_MOMENTS, ids=named)
def test_killed_with_other_choices(
    moment: str, time: int, killer: Killer, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    interrupted(other_choices, tmp_path, killer, moment, time)
    assert trained(other_choices, tmp_path) == uninterrupted(other_choices)


PRETRAINING_STEPS = tiny.TRAIN // tiny.BATCH
PRETRAINING_MOMENTS = [
    *(("after pretraining", time) for time in (1, 4)),
    *(("after a checkpoint", time) for time in range(1, 11)),
    ("a step", 6 * PRETRAINING_STEPS + 1),
]


@pytest.mark.parametrize(("moment", "time"), PRETRAINING_MOMENTS, ids=named)
def test_killed_in_a_pretraining_phase(
    moment: str, time: int, killer: Killer, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    interrupted(pretraining_phases, tmp_path, killer, moment, time)
    assert trained(pretraining_phases, tmp_path) == uninterrupted(pretraining_phases)


def test_killed_again_and_again(killer: Killer, uninterrupted: Uninterrupted, tmp_path: Path) -> None:
    """In every epoch, now before its metrics and now while its checkpoint is written."""
    moments = ["before metrics", "in the middle of checkpoint.safetensors", "after metrics", "a step"]
    kills = 0
    for attempt in range(12):
        killer.moment, killer.time = moments[attempt % len(moments)], 2
        try:
            trained(three_stages, tmp_path)
            break
        except Killed:
            kills += 1
    killer.moment = ""
    assert kills > 4
    assert trained(three_stages, tmp_path) == uninterrupted(three_stages)


def test_a_finished_run_is_not_trained_again(uninterrupted: Uninterrupted, tmp_path: Path) -> None:
    before = trained(three_stages, tmp_path)
    assert tiny.trained(three_stages(), tmp_path) == []
    assert tiny.outcome(tmp_path) == before == uninterrupted(three_stages)


def test_the_program_may_draw_random_numbers_in_between(
    killer: Killer, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    interrupted(three_stages, tmp_path, killer, "after a checkpoint", 3)
    made = three_stages()
    torch.manual_seed(12345)
    tiny.trained(made, tmp_path)
    RunFolder(tmp_path).conclude()
    assert tiny.outcome(tmp_path) == uninterrupted(three_stages)


def test_a_damaged_checkpoint_is_refused(killer: Killer, tmp_path: Path) -> None:
    interrupted(three_stages, tmp_path, killer, "after a checkpoint", 2)
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-10])
    with pytest.raises(
        UserError, match=r"checkpoint\.safetensors is damaged \(.*\); remove it and metrics.jsonl to start"
    ):
        tiny.trained(three_stages(), tmp_path)


def test_nothing_is_unpickled(killer: Killer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(three_stages, tmp_path, killer, "after a checkpoint", 4)

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("torch.load")

    monkeypatch.setattr(torch, "load", forbidden)
    monkeypatch.setattr(torch, "save", forbidden)
    assert [report.epoch for report in tiny.trained(three_stages(), tmp_path)] == [5, 6]


def test_a_loss_of_a_pretraining_phase_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    method = WeightedMethod("pretrained", Pretrained(), 0.1)
    diverging = OptimizerConfig(learning_rate=1e30)
    made = tiny.built(tiny.recipe([(StageConfig(), [method])], epochs=2, optimizer=diverging))
    message = r"no longer finite before stage 1, in the pretraining of pretrained \(difference\)"
    with pytest.raises(UserError, match=message):
        tiny.trained(made, tmp_path)
