"""`smskd demo`, shortened."""

import json
import re
import signal
from pathlib import Path

import pytest

from smskd.cli import demo
from smskd.recipe import Recipe, read
from tests.support.program import everything_in, fine, mistake, start

STUDENTS = ("plain", "kd", "fitnet-kd")
SHORT = ["data.source={name: digits, test_samples: 64}", "data.subset.train=128", "runtime.device=cpu"]

SLOW = f"""
from smskd.cli import demo, main

def read(path, overrides=(), original=demo.read):
    short = ["training.epochs=1"] if path == demo.TEACHER else []
    return original(path, [*overrides, *{SHORT}, *short])

if __name__ == "__main__":
    demo.read, demo.STUDENTS = read, ("plain", "kd")
    main()
"""
"""The program with a short teacher and students of many epochs."""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer students and images, and a teacher of one epoch."""

    def read_tiny(path: str, overrides: list[str] | None = None) -> Recipe:
        short = ["training.epochs=1"] if path == demo.TEACHER else []
        return read(path, [*(overrides or []), *SHORT, *short])

    monkeypatch.setattr(demo, "read", read_tiny)
    monkeypatch.setattr(demo, "STUDENTS", STUDENTS)


@pytest.mark.usefixtures("tiny")
def test_demo(here: Path) -> None:
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


def test_ctrl_c_ends_the_workers_with_one_line(tmp_path: Path) -> None:
    out, file = tmp_path / "demo", tmp_path / "slow.py"
    file.write_text(SLOW, encoding="utf-8")
    code = f"import runpy; runpy.run_path({str(file)!r}, run_name='__main__')"
    program = start("demo", "--out", out, "--epochs", "5000", "--seeds", "0", code=code)
    while not list(out.glob("*/seed0/metrics.jsonl")):
        assert program.poll() is None, program.communicate()
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 130
    assert errors == f"smskd: stopped; go on with: smskd demo --out {out} --seeds 0 --epochs 5000\n"
    assert (out / "teacher" / "summary.json").is_file()


def test_a_demo_whose_folder_cannot_be(here: Path) -> None:
    (here / "file").touch()
    assert mistake("demo", "--out", "file", "-q").startswith("file")
    assert everything_in(here) == {"file": b""}
