"""Sweeps: shared stages are trained once, by one process or several, also if one is killed."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import smskd
from smskd import session
from smskd.errors import UserError
from smskd.report import page
from smskd.session import begin
from smskd.sweeps.beginning import begin as begin_sweep
from smskd.sweeps.board import Board
from smskd.sweeps.crew import train_sweep
from smskd.sweeps.storage import journal_of
from smskd.sweeps.sweep_file import read_sweep
from smskd.sweeps.sweep_worker import Told, work
from smskd.sweeps.totals import totals
from smskd.training import summary
from smskd.training.reports import EpochReport
from tests.support import postgres, sweeps
from tests.support.program import same_weights

RUNS = ["fitnet-kd", "fitnet-sp", "at-kd", "at-sp"]


@pytest.fixture(autouse=True)
def no_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "latency", lambda model, example: {"1": 1.0, "64": 1.0})


@pytest.fixture(autouse=True)
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library that draws the charts of the page takes seconds to build."""
    monkeypatch.setattr(page, "library", lambda: "")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sweeps.teacher(tmp_path_factory.mktemp("taught") / "teacher")


@pytest.fixture
def board(taught: Path, tmp_path: Path) -> Board:
    return Board.begin(sweeps.four_runs(tmp_path, taught), journal_of(tmp_path))


def killing_one(board: Board, messages: list[Told]) -> Iterator[None]:
    """Kills a process after the third epoch of a run that it trains, once."""
    epochs: Counter[Path] = Counter()
    while True:
        told = yield
        messages.append(told)
        epochs[told.run] += told.kind == "epoch"
        if epochs[told.run] == 3:
            running = [attempt for attempt in board.queue.attempts() if attempt.state == "running"]
            victim = next(attempt for attempt in running if attempt.run == str(told.run))
            os.kill(victim.worker["process"], signal.SIGKILL)
            break
    while True:
        messages.append((yield))


def trained_with_a_kill(board: Board, out: Path) -> list[Told]:
    messages: list[Told] = []
    killer = killing_one(board, messages)
    next(killer)
    train_sweep(board, out, 2, killer.send)  # type: ignore[attr-defined]
    return messages


def check_all(board: Board, out: Path, messages: list[Told]) -> None:
    """All runs are complete, each stage was trained once, but for the part that the kill has cost."""
    cost = totals(out)
    assert (cost.runs, cost.epochs, cost.epochs_of_all_runs) == (4, 12, 16)
    assert sum(told.epochs for told in messages if told.kind == "epoch") in (12, 13)
    assert {str(told.run) for told in messages if told.kind == "finished"} == {f"{name}/seed0" for name in RUNS}
    assert [attempt.state for attempt in board.queue.attempts()].count("complete") == 4
    point = board.plan.points[3]
    run = begin(point.recipe(board.sweep), out / "alone")
    for _ in run.train(run.build(), report=False):
        pass
    for name in ("student.safetensors", "stages/1/student.safetensors"):
        assert same_weights(out / "alone" / name, out / point.folder / name)


def test_two_processes_with_a_journal_of_which_one_is_killed(board: Board, tmp_path: Path) -> None:
    messages = trained_with_a_kill(board, tmp_path)
    states = Counter(attempt.state for attempt in board.queue.attempts())
    assert states == {"complete": 4, "lost": 1}
    check_all(board, tmp_path, messages)


@pytest.mark.skipif(postgres.binaries() is None, reason="PostgreSQL (initdb) is not installed")
def test_two_processes_with_postgresql_of_which_one_is_killed(taught: Path, tmp_path: Path) -> None:
    with postgres.server() as url:
        begun = Board.begin(sweeps.four_runs(tmp_path, taught), url)
        messages = trained_with_a_kill(Board.join(url, "small"), tmp_path)
        check_all(begun, tmp_path, messages)


def test_one_process_goes_on_where_another_has_stopped(board: Board, tmp_path: Path) -> None:
    class Stopped(BaseException):
        pass

    seen: list[Told] = []

    def stop(told: Told) -> None:
        seen.append(told)
        if told.kind == "epoch" and len(seen) == 3:
            raise Stopped

    with pytest.raises(Stopped):
        work(board, tmp_path, stop)
    again: list[Told] = []
    work(Board.begin(board.sweep, board.place), tmp_path, again.append)
    assert sum(told.epochs for told in again if told.kind == "epoch") == 9
    assert totals(tmp_path).epochs == 12
    done: list[Told] = []
    work(Board.begin(board.sweep, board.place), tmp_path, done.append)
    assert done == []


def test_a_run_that_fails_does_not_keep_the_others_from_training(board: Board, tmp_path: Path) -> None:
    (tmp_path / "at-kd").write_text("", encoding="utf-8")  # where a folder should be
    seen: list[Told] = []
    work(board, tmp_path, seen.append)
    assert [str(told.run) for told in seen if told.kind == "failed"] == ["at-kd/seed0"]
    assert list(board.failures()) == ["at-kd/seed0"]
    assert totals(tmp_path).runs == 3
    (tmp_path / "at-kd").unlink()
    again: list[Told] = []
    work(Board.begin(board.sweep, board.place), tmp_path, again.append)
    assert [str(told.run) for told in again if told.kind == "finished"] == ["at-kd/seed0"]


def test_another_sweep_of_the_same_name_is_refused(board: Board, taught: Path, tmp_path: Path) -> None:
    other = read_sweep(sweeps.written(tmp_path, taught, values={"methods": [["fitnet"]]}))
    with pytest.raises(UserError, match="holds another sweep called 'small'"):
        Board.begin(other, board.place)


def test_a_search_keeps_its_budget_and_trains_shared_stages_once(taught: Path, tmp_path: Path) -> None:
    search = {"of": ["fitnet", "kd", "at"], "epochs": 14, "stages": [1, 2], "stage_epochs": [2], "pruner": "none"}
    file = sweeps.written(tmp_path, taught, search=search, set={"data.validation": {"count": 16}})
    found = Board.begin(read_sweep(file), journal_of(tmp_path))
    messages: list[Told] = []
    work(found, tmp_path, messages.append)
    trained = sum(told.epochs for told in messages if told.kind == "epoch")
    assert 10 <= trained <= 14
    assert totals(tmp_path).epochs == trained
    assert totals(tmp_path).epochs_of_all_runs == sum(told.epochs for told in messages)
    values = [attempt.value for attempt in found.queue.attempts()]
    assert None not in values
    assert found.next_job() == "done"


def test_a_bad_sequence_is_pruned_on_the_validation_split(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six single methods, of which one is much worse on the validation split, and better on the test images."""
    names = ["at", "fitnet", "kd", "pkt", "rkd", "sp"]
    search = {"of": names, "epochs": 24, "stages": [1, 1], "stage_epochs": [4], "sampler": "random"}
    file = sweeps.written(tmp_path, taught, search=search, set={"data.validation": {"count": 16}})
    found = Board.begin(read_sweep(file), journal_of(tmp_path))
    order: list[str] = []
    train = session.Run.train

    def scripted(run: session.Run, *arguments: Any, **options: Any) -> Iterator[Any]:
        methods = run.recipe.stages[0].names[0]
        order.append(methods)
        bad = len(order) == 6  # the pruner watches five runs before it prunes
        for report in train(run, *arguments, **options):
            if isinstance(report, EpochReport):
                accuracies = {"validation_top1": 5.0 if bad else 50.0, "test_top1": 99.0 if bad else 50.0}
                report = replace(report, **accuracies)
            yield report

    monkeypatch.setattr(session.Run, "train", scripted)
    work(found, tmp_path, lambda told: None)
    states = {attempt.facts["methods"][0]: attempt.state for attempt in found.queue.attempts()}
    assert sorted(states) == names
    assert {method: state for method, state in states.items() if state != "complete"} == {order[-1]: "pruned"}
    pruned = found.queue.attempts()[-1]
    assert pruned.facts["trained"] == 1
    assert not (tmp_path / pruned.run / "summary.json").exists()
    assert sorted(path.parent.parent.name for path in tmp_path.rglob("summary.json")) == sorted(order[:-1])
    assert found.budget_left(found.queue.attempts()) == 3
    assert found.next_job() == "done"


def test_a_sweep_from_python_is_that_of_the_command(taught: Path, tmp_path: Path) -> None:
    file = sweeps.written(tmp_path, taught, values={"methods": [["fitnet"], ["kd"]]})
    settings = smskd.SweepConfig(str(tmp_path / "short.yaml"), name="small", values={"methods": (["fitnet"], ["kd"])})
    seen: list[Told] = []
    result = smskd.sweep(settings, out=tmp_path / "python", on_message=seen.append)
    (tmp_path / "command").mkdir()
    work(begin_sweep(read_sweep(file), tmp_path / "command", None), tmp_path / "command", lambda told: None)
    assert sorted(row.label for row in result.rows) == ["fitnet", "kd"]
    assert (result.folder, result.totals.runs, result.totals.epochs) == (tmp_path / "python", 2, 8)
    assert Counter(told.kind for told in seen) == {"epoch": 8, "finished": 2}
    for name in ("fitnet", "kd"):
        weights = Path(name) / "seed0/student.safetensors"
        assert same_weights(tmp_path / "python" / weights, tmp_path / "command" / weights)
    with pytest.raises(UserError, match=r"kdd: methods\.0: unknown method 'kdd'"):
        smskd.sweep(replace(settings, values={"methods": (["kdd"],)}), out=tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()
    with pytest.raises(UserError, match="workers is 0; it has to be 1 or more"):
        smskd.sweep(settings, out=tmp_path / "wrong", workers=0)
