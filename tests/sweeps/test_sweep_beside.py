"""A sweep whose runs are trained beside each other in one process: each is what it is without that."""

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import smskd
from smskd.errors import UserError
from smskd.methods.sp import SP
from smskd.report import page
from smskd.sweeps.beside import Beside
from smskd.sweeps.board import Board, Job
from smskd.sweeps.run_queue import MOST_ATTEMPTS
from smskd.sweeps.storage import journal_of
from smskd.sweeps.sweep_beside import work_beside
from smskd.sweeps.sweep_file import read_sweep
from smskd.sweeps.sweep_worker import Told, work
from smskd.sweeps.totals import totals
from smskd.training import summary
from tests.support import sweeps, tiny

RUNS = ("fitnet-kd", "fitnet-sp", "at-kd", "at-sp")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what takes long: latencies, and the library that draws charts."""
    monkeypatch.setattr(summary, "latency", lambda model, example: {"1": 1.0, "64": 1.0})
    monkeypatch.setattr(page, "library", lambda: "")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sweeps.teacher(tmp_path_factory.mktemp("taught") / "teacher")


@pytest.fixture(scope="module")
def alone(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "latency", lambda model, example: {"1": 1.0, "64": 1.0})
        work(Board.begin(sweeps.four_runs(folder, taught), journal_of(folder)), folder, lambda told: None)
    return weights(folder)


@pytest.fixture
def board(taught: Path, tmp_path: Path) -> Board:
    return Board.begin(sweeps.four_runs(tmp_path, taught), journal_of(tmp_path))


def weights(folder: Path) -> dict[str, Any]:
    """After each stage of each run. Which of the runs trains a stage that they share differs from time to time."""
    return {
        name: {path.relative_to(folder): tiny.written(path) for path in (folder / name).rglob("student.safetensors")}
        for name in RUNS
    }


def beside(board: Board, out: Path, told: Callable[[Told], None] | None = None) -> list[Told]:
    messages: list[Told] = []

    def take(message: Told) -> None:
        messages.append(message)
        if told is not None:
            told(message)

    work_beside(board, out, take, Beside(4))
    return messages


def runs_of(messages: list[Told], kind: str) -> list[str]:
    return sorted(message.run.parent.name for message in messages if message.kind == kind)


def test_the_runs_are_those_of_a_sweep_without_it(board: Board, tmp_path: Path, alone: dict[str, Any]) -> None:
    most = 0

    def count(_: Told) -> None:
        nonlocal most
        most = max(most, sum(thread.name.startswith("smskd-run") for thread in threading.enumerate()))

    messages = beside(board, tmp_path, count)
    assert runs_of(messages, "finished") == sorted(RUNS)
    assert most == 4
    assert weights(tmp_path) == alone
    # Stages that two of the threads want are trained once.
    assert sum(message.epochs for message in messages if message.kind == "epoch") == totals(tmp_path).epochs == 12
    assert Counter(attempt.state for attempt in board.queue.attempts()) == {"complete": 4}


def test_runs_that_fail_do_not_touch_the_others(
    board: Board,
    tmp_path: Path,
    alone: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """One has a mistake of its user's, and one meets a bug in a method."""
    (tmp_path / "at-kd").write_text("", encoding="utf-8")  # where a folder should be

    loss, calls, broken = SP.loss, Counter[str](), list[SP]()

    def failing(self: SP, *arguments: Any) -> Any:
        calls[threading.current_thread().name] += 1
        if calls[threading.current_thread().name] == 4 and not broken:  # the rehearsal would tell of it in a line
            broken.append(self)
            raise ZeroDivisionError("a mistake in a method")
        return loss(self, *arguments)

    monkeypatch.setattr(SP, "loss", failing)
    messages = beside(board, tmp_path)
    failed = runs_of(messages, "failed")
    assert (failed[0], failed[1][-3:]) == ("at-kd", "-sp")
    assert board.failures()[f"{failed[1]}/seed0"] == f"{failed[1]}/seed0: ZeroDivisionError: a mistake in a method"
    assert "ZeroDivisionError: a mistake in a method" in capfd.readouterr().err  # where it is, for who mends it
    finished = runs_of(messages, "finished")
    assert len(finished) == 2
    assert all(weights(tmp_path)[name] == alone[name] for name in finished)


def test_ctrl_c_ends_all_and_the_sweep_goes_on(board: Board, tmp_path: Path, alone: dict[str, Any]) -> None:
    def interrupt(message: Told) -> None:
        if message.kind == "epoch" and len(board.queue.attempts()) > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        beside(board, tmp_path, interrupt)
    assert not any(thread.name.startswith("smskd-run") for thread in threading.enumerate())
    attempts = board.queue.attempts()
    assert {attempt.state for attempt in attempts} == {"lost"}
    assert all(attempt.facts["stopped"] for attempt in attempts)
    beside(Board.begin(board.sweep, board.place), tmp_path)
    assert weights(tmp_path) == alone


def test_the_last_attempt_at_a_run_with_which_processes_have_died_is_alone(board: Board) -> None:
    for attempt in range(MOST_ATTEMPTS):
        job = board.next_job()
        assert isinstance(job, Job)
        assert job.point == board.plan.points[0]
        assert job.alone == (attempt == MOST_ATTEMPTS - 1)
        board.queue.lose(job.number)
    job = board.next_job()
    assert isinstance(job, Job)
    assert (job.point, job.alone) == (board.plan.points[1], False)


def test_together_from_python(taught: Path, tmp_path: Path, alone: dict[str, Any]) -> None:
    """In the worker process of a sweep."""
    sequences = (["fitnet", "kd"], ["fitnet", "sp"])
    sweeps.written(tmp_path, taught)
    settings = smskd.SweepConfig(str(tmp_path / "short.yaml"), name="small", values={"methods": sequences})
    result = smskd.sweep(settings, out=tmp_path / "out", together=True, at_most=2)
    assert (result.totals.runs, result.totals.epochs) == (2, 6)
    assert [weights(tmp_path / "out")[name] for name in RUNS[:2]] == [alone[name] for name in RUNS[:2]]


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        ({"workers": 2}, (), "together trains runs beside each other in one process; leave it or workers out"),
        ({"at_most": 0}, (), "at_most is 0; it has to be 1 or more"),
        ({"at_most": "2"}, (), "at_most is '2'; it has to be a whole number"),
        ({"at_most": True}, (), "at_most is True; it has to be a whole number"),
        ({"together": False, "at_most": 2}, (), "at_most needs together"),
        ({}, ("data.loader.kind=streaming", "data.loader.workers=1"), "data.loader.workers=0"),
        ({}, ("runtime.processes=2",), "set runtime.processes=1"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(
    taught: Path, tmp_path: Path, options: dict[str, Any], changes: tuple[str, ...], message: str
) -> None:
    file = sweeps.written(tmp_path, taught, values={"methods": [["fitnet"], ["kd"]]})
    with pytest.raises(UserError, match=message):
        smskd.sweep(file, *changes, out=tmp_path / "out", **{"together": True} | options)
    assert not (tmp_path / "out").exists()


def test_a_search_keeps_its_budget(taught: Path, tmp_path: Path) -> None:
    search = {"of": ["fitnet", "kd", "at"], "epochs": 10, "stages": [1, 2], "stage_epochs": [2], "pruner": "none"}
    file = sweeps.written(tmp_path, taught, search=search, set={"data.validation": {"count": 16}})
    found = Board.begin(read_sweep(file), journal_of(tmp_path))
    messages = beside(found, tmp_path)
    trained = sum(message.epochs for message in messages if message.kind == "epoch")
    assert totals(tmp_path).epochs == trained <= 10
    assert found.next_job() == "done"
