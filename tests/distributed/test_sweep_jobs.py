"""Sweeps whose runs are trained by several processes each."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from smskd.errors import UserError
from smskd.runs.file_names import METRICS
from smskd.runs.metrics_file import append_line
from smskd.session import Run, begin
from smskd.sweeps import joint_runs
from smskd.sweeps.board import Board
from smskd.sweeps.joint_runs import train_together
from smskd.sweeps.storage import journal_of
from smskd.sweeps.sweep_file import read_sweep
from smskd.sweeps.sweep_worker import Told, recipe_of, work
from tests.distributed.test_jobs import RECIPE

EPOCHS = 3


@pytest.fixture
def board(tmp_path: Path) -> Board:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    file = tmp_path / "one.yaml"
    file.write_text(yaml.safe_dump({"recipe": "tiny.yaml", "values": {"optimizer.learning_rate": [0.01]}}))
    return Board.begin(read_sweep(file), journal_of(tmp_path))


def test_a_run_is_trained_by_two_processes(board: Board, tmp_path: Path) -> None:
    told: list[Told] = []
    work(board, tmp_path, told.append)
    (point,) = board.plan.points
    folder = tmp_path / point.folder
    assert [message.kind for message in told] == ["epoch"] * EPOCHS + ["finished"]
    (attempt,) = board.queue.attempts()
    assert (attempt.state, attempt.facts["trained"], attempt.facts["epoch"]) == ("complete", EPOCHS, EPOCHS)
    assert json.loads((folder / "environment.json").read_text())["processes"] == 2
    summary = json.loads((folder / "summary.json").read_text())
    assert attempt.value == summary["student"]["top1_last"]
    assert "The store of stages is not used with several processes." in summary["notes"]


@pytest.fixture
def run(board: Board, tmp_path: Path) -> Run:
    (point,) = board.plan.points
    return begin(recipe_of(board, point, tmp_path), tmp_path / point.folder)


def job_of(run: Run, epochs: int, outcome: tuple[int, str | None], begun: int = 0) -> Callable[..., Any]:
    """A job that writes the metrics of an epoch between two looks at it, and then ends."""

    def job(command: list[str], count: int, *, watch: Callable[[], None], silent: bool) -> tuple[int, str | None]:
        assert (count, silent) == (2, True)
        for epoch in range(begun + 1, begun + epochs + 1):
            append_line(run.folder.path / METRICS, {"epoch": epoch}, first=True)
            watch()
        return outcome

    return job


def test_a_job_that_fails_is_a_run_that_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(joint_runs, "run_job", job_of(run, 1, (2, "image 7 is broken")))
    with pytest.raises(UserError, match=r"seed0: image 7 is broken"):
        train_together(run, lambda metrics: not seen.append(metrics["epoch"]))
    assert seen == [1]


def test_a_job_goes_no_further_where_a_search_has_seen_enough(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def enough(metrics: Any) -> bool:
        seen.append(metrics["epoch"])
        return len(seen) < 2

    monkeypatch.setattr(joint_runs, "run_job", job_of(run, 3, (0, None)))
    assert not train_together(run, enough)
    assert seen == [1, 2]


def test_a_job_that_goes_on_tells_its_new_epochs_only(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    append_line(run.folder.path / METRICS, {"epoch": 1}, first=True)
    seen: list[int] = []
    monkeypatch.setattr(joint_runs, "run_job", job_of(run, 1, (0, None), begun=1))
    assert train_together(run, lambda metrics: not seen.append(metrics["epoch"]))
    assert seen == [2]
