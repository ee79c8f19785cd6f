"""``smskd bench run``: its result, and its messages."""

import json
from pathlib import Path

import pytest

from smskd.bench.run import bench_run
from smskd.timing import PARTS
from tests.support.program import TINY, fine, mistake

SMALL = (*TINY, "student.name=resnet8_w2", "teacher.name=resnet8_w4")
KEYS = {
    "format", "recipe", "epochs", "seconds", "teacher_seconds", "images", "images_per_second", "share", "environment",
}  # fmt: skip


def test_the_teacher_is_trained_first(tmp_path: Path) -> None:
    result = bench_run("digits/fitnet-kd", SMALL, tmp_path)
    assert result.keys() == KEYS
    assert (result["recipe"], result["epochs"], result["images"]) == ("fitnet-kd", 2, 256)
    assert result["seconds"] >= result["teacher_seconds"] >= 0
    assert set(result["share"]) == set(PARTS)
    assert sum(result["share"].values()) == pytest.approx(100, abs=0.5)
    assert result["share"]["reference"] > 0
    teacher = json.loads((tmp_path / "teacher" / "summary.json").read_text(encoding="utf-8"))
    assert (teacher["student"]["model"], teacher["teacher"]) == ("resnet8_w4", None)


def test_a_plain_recipe_has_no_teacher(tmp_path: Path) -> None:
    result = bench_run("digits/teacher", [*TINY, "student.name=resnet8_w2"], tmp_path)
    assert result["teacher_seconds"] is None
    assert result["share"]["teacher"] == 0
    assert not (tmp_path / "teacher").exists()


def test_weights_of_the_recipe_are_used(tmp_path: Path) -> None:
    bench_run("digits/kd", SMALL, tmp_path / "one")
    weights = f"teacher.weights={tmp_path / 'one' / 'teacher'}"
    result = bench_run("digits/kd", [*SMALL, weights], tmp_path / "two")
    assert result["teacher_seconds"] is None


def test_command() -> None:
    shown = fine("bench", "run", "digits/fitnet-kd", *SMALL)
    for words in ("recipe", "fitnet-kd, 2 epochs", "for the teacher", "images per second", "student forward", " %"):
        assert words in shown
    result = json.loads(fine("bench", "run", "digits/fitnet-kd", *SMALL, "--json", "-"))
    assert result.keys() == KEYS


def test_mistakes() -> None:
    assert "no such recipe file" in mistake("bench", "run", "digits/nosuch")
    assert "epohcs: unknown key" in mistake("bench", "run", "digits/kd", "epohcs=2")
