"""`smskd demo`, shortened."""

import json
import multiprocessing
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from smskd.cli import demo
from smskd.cli.run_bars import RunBars
from smskd.recipe import Recipe, read
from smskd.report.page import Page
from tests.support.program import ctrl_c_stops_this_process, everything_in, fine, mistake, smskd

STUDENTS = ("plain", "kd", "fitnet-kd")
SHORT = ["data.source={name: digits, test_samples: 64}", "data.subset.train=128", "runtime.device=cpu"]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer students and images, a teacher of one epoch, and one worker process: each imports torch."""

    def read_tiny(path: str, overrides: list[str] | None = None) -> Recipe:
        short = ["training.epochs=1"] if path == demo.TEACHER else []
        return read(path, [*(overrides or []), *SHORT, *short])

    monkeypatch.setattr(demo, "read", read_tiny)
    monkeypatch.setattr(demo, "STUDENTS", STUDENTS)
    monkeypatch.setattr(demo, "WORKERS", 1)


@pytest.mark.usefixtures("tiny")
def test_demo(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("demo", "--out", "my demo", "--epochs", "2", "--seeds", "0,1")
    printed = fine(*words)
    lines = printed.splitlines()
    assert lines[0] == "a teacher, then 3 students with 2 seeds each, into my demo"
    finished = [line.split(":")[0] for line in lines if ": top-1 " in line]
    assert finished[0] == "teacher seed 0"
    assert sorted(finished[1:]) == sorted(f"{name} seed {seed}" for name in STUDENTS for seed in (0, 1))
    assert re.search(r"^ ?recipe +top-1 +vs plain +vs kd +forgotten", printed, re.MULTILINE)
    assert re.search(r"^ ?fitnet-kd( +\S+ ± \S+){3} +\S+ *$", printed, re.MULTILINE)
    (sentence,) = [line for line in lines if line.startswith("At 95 % confidence over 2 seeds: ")]
    assert "plain" in sentence
    assert "fitnet-kd" in sentence
    assert lines[-2:] == ["runs: my demo", "page: my demo/report.html"]
    assert (here / "my demo" / "report.html").is_file()
    table = lines[lines.index(next(line for line in lines if "vs plain" in line)) : lines.index(sentence)]
    assert max(map(len, table)) <= 80
    before = everything_in(here / "my demo")

    again = fine(*words)
    assert ": top-1 " not in again
    assert again.splitlines()[1:] == lines[-(len(again.splitlines()) - 1) :]
    assert everything_in(here / "my demo").keys() == before.keys()
    monkeypatch.setattr(demo, "write_report", lambda *_: None)
    assert fine(*words, "-q") == ""

    message = mistake("demo", "--out", "my demo", "--epochs", "3", "-q")
    assert message == "my demo/plain/seed0 contains a run with other settings; choose another folder with --out"


def test_teacher_and_students_have_the_same_test_images() -> None:
    """The teacher's training images are the images that are in nobody's test split."""
    teacher, *students = read(demo.TEACHER), *(read(f"digits/{name}.yaml") for name in demo.STUDENTS)
    assert {json.dumps(student.data.source.options) for student in students} == {
        json.dumps(teacher.data.source.options)
    }
    assert {student.training.epochs for student in demo._students(Path("x"), 12).values()} == {12}


@pytest.fixture
def ctrl_c(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """SIGINT at the first epoch of a student, in a process that does not ignore it."""

    def interrupt(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(RunBars, "update", interrupt)
    with ctrl_c_stops_this_process():
        yield


@pytest.mark.usefixtures("tiny", "ctrl_c")
def test_ctrl_c_ends_the_workers_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("smskd.session.write_run_report", Page)
    out = tmp_path / "demo"
    stopped = smskd("demo", "--out", out, "--epochs", "5000", "--seeds", "0")
    assert stopped.code == 130
    assert stopped.err == f"smskd: stopped; go on with: smskd demo --out {out} --seeds 0 --epochs 5000\n"
    assert capfd.readouterr().err == "", "a worker has written to stderr"
    assert not multiprocessing.active_children()
    assert (out / "teacher" / "summary.json").is_file()
    assert len(list(out.glob("*/seed0/metrics.jsonl"))) == 1
    assert not list(out.glob("*/seed0/summary.json"))


def test_a_demo_whose_folder_cannot_be(here: Path) -> None:
    (here / "file").touch()
    assert mistake("demo", "--out", "file", "-q").startswith("file")
    assert everything_in(here) == {"file": b""}
