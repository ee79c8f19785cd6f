"""`smskd sweep`: plan, training, status, table, and mistakes before anything is trained."""

import json
from pathlib import Path

import pytest

from smskd.report import page
from smskd.runs.file_names import SUMMARY
from smskd.sweeps.beginning import begin
from smskd.sweeps.sweep_file import read_sweep
from smskd.sweeps.sweep_worker import Told, work
from tests.support import postgres, sweeps
from tests.support.program import fine, mistake, smskd


@pytest.fixture(autouse=True)
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library that draws the charts of the page takes seconds to build."""
    monkeypatch.setattr(page, "library", lambda: "")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sweeps.teacher(tmp_path_factory.mktemp("taught") / "teacher")


TWO = {"methods": [["fitnet", "kd"], ["fitnet", "sp"]]}


def test_plan_training_status_and_table(taught: Path, tmp_path: Path) -> None:
    file, out = (
        sweeps.written(tmp_path, taught, values=TWO, baseline="fitnet-sp"),
        tmp_path / "o",
    )
    planned = json.loads(fine("sweep", file, "--out", out, "--dry-run", "--json"))
    assert {key: planned[key] for key in ("runs", "epochs", "epochs_without_sharing", "estimated_from")} == {
        "runs": 2,
        "epochs": 6,
        "epochs_without_sharing": 8,
        "estimated_from": "steps",
    }
    assert planned["seconds"] > 0
    told = " ".join(fine("sweep", file, "--out", out, "--dry-run", "--quiet").split())
    assert (
        "of training in all, divided by the runs at a time, from 3 steps of 3 of 3 kinds of stages with one thread"
        in told
    )
    assert not out.exists()
    assert mistake("sweep", file, "--out", out, "--status").startswith(f"{out} holds no sweep that was begun")
    assert not out.exists()

    told = fine("sweep", file, "--out", out)
    assert "2 runs finished: 6 epochs trained, 8 without sharing" in told
    assert {path.parent.relative_to(out).as_posix() for path in out.rglob(SUMMARY)} == {
        "fitnet-kd/seed0",
        "fitnet-sp/seed0",
    }
    assert json.loads(fine("sweep", file, "--out", out, "--status", "--json")) == {
        "complete": 2, "pruned": 0, "running": 0, "failed": 0, "waiting": 0, "runs": [], "failures": {},
    }  # fmt: skip
    html = (out / "report.html").read_text()
    assert "Gains against fitnet-sp" in html
    assert 'data-chart="gains"' in html
    assert "difference to fitnet-sp" in table_of(file, out)
    # The baseline of the page is no part of what was trained.
    fine("sweep", sweeps.written(tmp_path, taught, values=TWO, baseline="fitnet-kd"), "--out", out, "-q")
    assert "Gains against fitnet-kd" in (out / "report.html").read_text()
    table = fine("sweep", "--out", out, "--table")
    assert "fitnet-kd" in table
    assert "6 epochs trained, 8 without sharing" in table
    assert json.loads(fine("sweep", file, "--out", out, "--dry-run", "--json"))["estimated_from"] == "runs"
    assert mistake("sweep", file, "training.epochs=6", "--out", out, "-q").startswith(
        f"{out}/journal.log holds another"
    )


def table_of(file: Path, out: Path) -> str:
    return " ".join(fine("sweep", file, "--out", out, "--table").split())


WRONG = {
    ("values", "methods"): ([["kdd"]], "kdd: methods.0: unknown method 'kdd'; did you mean 'kd'?"),
    ("values", "student.name"): (["resnet8_w0"], "resnet8_w0: student: unknown model 'resnet8_w0'"),
    ("set", "teacher.weights"): ("nowhere", "small: teacher.weights: "),
}


@pytest.mark.parametrize("where", WRONG, ids=str)
def test_a_mistake_in_a_run_is_found_before_the_first_is_trained(
    where: tuple[str, str], taught: Path, tmp_path: Path
) -> None:
    value, line = WRONG[where]
    file = sweeps.written(tmp_path, taught, **{where[0]: {where[1]: value}})
    outcome = smskd("sweep", file, "--out", tmp_path / "new" / "o", "--quiet")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"smskd: {line}"), outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_mistakes(tmp_path: Path) -> None:
    assert mistake("sweep") == "give the file of a sweep, or --join URL --name NAME"
    assert mistake("sweep", "digits/order", "--dry-run").endswith("did you mean 'digits/orders.yaml'?")
    assert mistake("sweep", "x", "--dry-run", "--status") == "give one of --dry-run, --status, --table and --join"
    assert mistake("sweep", "--join", "postgresql://nobody:secret@localhost:1/x") == (
        "--join needs --name, the name of the sweep"
    )
    refused = mistake("sweep", "--join", "postgresql://nobody:secret@localhost:1/x", "--name", "y")
    assert "no connection to this database" in refused
    assert "secret" not in refused


def test_a_plan_without_the_teacher_has_no_time(tmp_path: Path) -> None:
    file = sweeps.written(tmp_path, tmp_path / "nowhere", values={"methods": [["kd"], ["sp"]]})
    planned = json.loads(fine("sweep", file, "--dry-run", "--json"))
    assert (planned["epochs"], planned["seconds"], planned["estimated_from"]) == (8, None, None)
    told = " ".join(fine("sweep", file, "--dry-run", "--quiet").split())
    assert "the time cannot be estimated: kd: teacher.weights: " in told


@pytest.mark.skipif(postgres.binaries() is None, reason="PostgreSQL (initdb) is not installed")
def test_two_machines_join_a_sweep_in_a_database(taught: Path, tmp_path: Path) -> None:
    """Each machine has a folder of its own. The first stops after a run; the other trains what is left."""
    file = sweeps.written(tmp_path, taught, values={"methods": [["fitnet"], ["kd"]]})
    first, second = tmp_path / "first", tmp_path / "second"
    with postgres.server() as url:
        board = begin(read_sweep(file), first, url)
        told: list[str] = []

        def stop(message: Told) -> None:
            told.append(f"{message.kind} {message.run}")
            if message.kind == "finished":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            work(board, first, stop)
        assert told[-1] == "finished fitnet/seed0"
        fine("sweep", "--join", url, "--name", "small", "--out", second)
        status = json.loads(fine("sweep", file, "--out", first, "--storage", url, "--status", "--json"))
        assert (status["complete"], status["running"], status["failed"]) == (2, 0, 0)
        assert mistake("sweep", "--join", url, "--name", "smal") == f"{url} holds no sweep called 'smal'"
    assert {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob(SUMMARY)} == {
        "first/fitnet/seed0",
        "second/kd/seed0",
    }
    assert fine("compare", first, second, "--csv").count("\n") == 3
