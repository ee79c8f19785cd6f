"""Trackers: what they are told, where they write, and that training does not depend on them."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from smskd.errors import UserError
from smskd.recipe import read
from smskd.runs.reader import load_run
from smskd.session import begin, reopen_folder
from smskd.training.reports import EpochReport
from tests.support.deployed import SHORT, plain_run
from tests.support.program import same_weights

pytest.importorskip("accelerate")

TWO_STAGES = (
    "training.epochs=4",
    "schedule.decay_at=[2]",
    "student=resnet8_w2",
    "teacher.name=resnet8_w2",
    f"teacher.weights={plain_run()}",
)


def train(folder: Path, *overrides: str, stop_after: int | None = None) -> list[str]:
    """Trains FitNets, then KD; the problems of the run."""
    if (folder / "recipe.yaml").exists():
        run = reopen_folder(folder)
    else:
        run = begin(read("digits/fitnet-kd.yaml", [*SHORT, *TWO_STAGES, *overrides]), folder)
    reports = run.train(run.build(), report=False)
    for report in reports:
        if isinstance(report, EpochReport) and report.epoch == stop_after:
            break
    reports.close()
    return run.problems


def events(folder: Path) -> Any:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return found


def test_tensorboard_has_what_the_metrics_have_also_of_a_resumed_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert train(folder, "runtime.track=[tensorboard]", stop_after=3) == []
    assert train(folder) == []
    found, metrics = events(folder), load_run(folder).metrics
    tags = set(found.Tags()["scalars"])
    assert {"loss/total", "loss/ce", "loss/fitnet", "loss/kd", "loss/anchor", "learning_rate"} <= tags
    top1 = {event.step: event.value for event in found.Scalars("accuracy/test_top1")}
    assert top1 == {line["epoch"]: pytest.approx(line["test_top1"]) for line in metrics}
    assert [event.step for event in found.Scalars("learning_rate")] == [1, 2, 3, 4]
    assert {event.step for event in found.Scalars("forgetting/forgotten_percent")} >= {3}


def test_forgotten_images_are_shown_at_the_end_of_a_stage(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    forgetful = (
        "optimizer.learning_rate=0.5",
        "schedule={name: cosine}",
        "stages=[{methods: [], ends_after: 2}, {methods: []}]",
        "data.subset.test=300",
    )
    assert train(folder, "runtime.track=[tensorboard]", *forgetful) == []
    found = events(folder)
    percent = {event.step: event.value for event in found.Scalars("forgetting/forgotten_percent")}
    assert set(percent) == {3, 4}
    assert (found.Tags()["images"] != []) == (percent[4] > 0)
    assert percent[4] > 0, "nothing was forgotten; take another learning rate"


def test_results_do_not_depend_on_trackers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate.state import PartialState

    monkeypatch.setattr(PartialState, "_shared_state", {})
    train(tmp_path / "with", "runtime.track=[tensorboard]")
    train(tmp_path / "without")
    assert same_weights(tmp_path / "with" / "student.safetensors", tmp_path / "without" / "student.safetensors")
    one, other = (load_run(tmp_path / name).summary["digest"] for name in ("with", "without"))
    assert one == other
    assert PartialState._shared_state == {}


class FakeRun:
    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.finished = False

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished = True


def fake(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[FakeRun, dict[str, Any]]:
    """A module in the place of a tracker that is not installed."""
    run, given = FakeRun(), {}

    def init(**arguments: Any) -> FakeRun:
        given.update(arguments)
        return run

    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    module.init = init  # type: ignore[attr-defined]
    module.Image = lambda image, **_: image  # type: ignore[attr-defined]
    module.finish = run.finish  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)
    return run, given


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_other_trackers_are_local_and_go_on_with_the_same_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    run, given = fake(name, monkeypatch)
    assert train(tmp_path / "run", f"runtime.track=[{name}]", stop_after=2) == []
    first = dict(given)
    assert run.finished
    assert train(tmp_path / "run") == []
    assert given == first
    assert given["resume"] == "allow"
    assert name != "wandb" or given["mode"] == "offline"
    assert [step for step, values in run.logged if "loss/total" in values] == [1, 2, 3, 4]


def test_a_tracker_that_fails_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = fake("wandb", monkeypatch)
    monkeypatch.setattr(run, "log", lambda *_, **__: 1 / 0)
    (problem,) = train(tmp_path / "run", "runtime.track=[wandb]")
    assert problem == "the tracker wandb failed and was left out from then on: division by zero"
    assert len(load_run(tmp_path / "run").metrics) == 4


def test_a_missing_package_is_named_before_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"runtime.track: aim cannot be imported .*pip install 'smskd\[aim\]'"):
        train(tmp_path / "run", "runtime.track=[aim]")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match=r"runtime.track"):
        train(tmp_path / "run", "runtime.track=[tensorbord]")
