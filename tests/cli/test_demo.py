"""`smskd demo`, cut short."""

from pathlib import Path

import pytest

from smskd.cli import demo
from smskd.recipe import Recipe, read
from tests.support.program import everything_in, fine, mistake

STUDENTS = ("plain", "fitnet-kd")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer students and pictures, and a teacher of one epoch."""

    def read_tiny(path: str, overrides: list[str] | None = None) -> Recipe:
        limits = ["data.train_limit=128", "data.test_limit=64", "device=cpu"]
        short = ["epochs=1"] if path == demo.TEACHER else []
        return read(path, [*(overrides or []), *limits, *short])

    monkeypatch.setattr(demo, "read", read_tiny)
    monkeypatch.setattr(demo, "STUDENTS", STUDENTS)


@pytest.mark.usefixtures("tiny")
def test_demo(here: Path) -> None:
    words = ("demo", "--out", "my demo", "--epochs", "2", "--seeds", "0,1")
    printed = fine(*words)
    lines = printed.splitlines()
    assert lines[0] == "a teacher, then 2 students with 2 seeds each, into my demo"
    assert [line.split(":")[0] for line in lines if ": top-1 " in line] == [
        "teacher seed 0",
        "plain seed 0",
        "plain seed 1",
        "fitnet-kd seed 0",
        "fitnet-kd seed 1",
    ]
    assert lines[-2:] == ["runs: my demo", "page: my demo/report.html"]
    assert (here / "my demo" / "report.html").is_file()
    before = everything_in(here / "my demo")

    again = fine(*words)
    assert "epoch" not in again
    assert again.splitlines()[1:] == lines[-(len(again.splitlines()) - 1) :]
    assert everything_in(here / "my demo").keys() == before.keys()
    assert fine(*words, "-q") == ""

    message = mistake("demo", "--out", "my demo", "--epochs", "3", "-q")
    assert message == "my demo/plain/seed0 holds a run with other settings; choose another folder with --out"


def test_the_students_decay_at_the_same_shares_of_fewer_epochs() -> None:
    whole = read("digits/kd")
    (decays,) = {recipe.schedule.decay_epochs for recipe in demo._students(Path("x"), 12).values()}
    assert decays == tuple(epoch * 12 // whole.epochs for epoch in whole.schedule.decay_epochs)
    assert {recipe.epochs for recipe in demo._students(Path("x"), None).values()} == {whole.epochs}
    assert {recipe.epochs for recipe in demo._students(Path("x"), 12).values()} == {12}


def test_a_demo_whose_folder_cannot_be(here: Path) -> None:
    (here / "file").touch()
    assert mistake("demo", "--out", "file", "-q").startswith("file")
    assert everything_in(here) == {"file": b""}
