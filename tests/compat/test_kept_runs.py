"""Runs that an older version has written can be read, compared, learned from and resumed."""

import json
from pathlib import Path

import pytest

from smskd import load
from tests.support import tiny
from tests.support.kept_run import FINISHED, KEPT, UNFINISHED, copy_of
from tests.support.program import TINY, smskd

VERSIONS = sorted(path.name.removeprefix("run-") for path in KEPT.glob("run-*"))

ONE_IMAGE = 100 / tiny.TEST
"""Of the accuracy in percent: another machine may round the other way."""


@pytest.fixture(params=VERSIONS)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return copy_of(request.param, tmp_path / "kept")


def printed(*words: object) -> str:
    """What a command prints. It may tell on stderr that it continues on another machine."""
    outcome = smskd(*words)
    assert outcome.code == 0, outcome
    return outcome.out


def test_there_is_one() -> None:
    assert "0.1" in VERSIONS


def test_eval_gives_the_accuracy_of_the_summary(kept: Path) -> None:
    (value,) = json.loads(printed("eval", kept / FINISHED, "--json"))
    assert value["top1"] == pytest.approx(tiny.summary(kept / FINISHED)["student"]["top1"], abs=ONE_IMAGE)


def test_its_student_can_be_loaded(kept: Path) -> None:
    model = load(kept / FINISHED)
    assert model(tiny.digits().test.pixels[:2].float()).shape == (2, tiny.CLASSES)
    assert not model.training


def test_it_can_be_compared_and_has_a_page(kept: Path) -> None:
    assert FINISHED in printed("compare", kept / FINISHED)
    printed("report", kept / FINISHED)
    assert "<html" in (kept / FINISHED / "report.html").read_text(encoding="utf-8")


def test_it_can_be_a_teacher(kept: Path) -> None:
    words = ("digits/kd", *TINY, "teacher.name=resnet8_w2", f"teacher.weights={kept / FINISHED}")
    printed("train", *words, "student.name=resnet8_w2", "--out", kept / "learned", "-q")
    learned = tiny.summary(kept / "learned")
    assert learned["teacher"]["model"] == "resnet8_w2"


def test_a_stopped_run_can_be_resumed(kept: Path) -> None:
    before = tiny.metrics(kept / UNFINISHED)
    assert [line["epoch"] for line in before] == [1, 2, 3]
    printed("resume", kept / UNFINISHED, "-q")
    after = tiny.metrics(kept / UNFINISHED)
    assert after[:3] == before
    assert [line["epoch"] for line in after] == [1, 2, 3, 4]
    assert tiny.summary(kept / UNFINISHED)["epochs"] == 4
