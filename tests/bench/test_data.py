"""`smskd bench data`: both loops read the same pictures."""

import json
from pathlib import Path

import pytest

from smskd.bench.data import DataCase, bench_data
from smskd.bench.pictures import write_pictures
from smskd.errors import UserError
from tests.support.program import fine, mistake


def test_both_loops_are_timed(tmp_path: Path) -> None:
    write_pictures(tmp_path, 8, 30, 40)
    assert len(list((tmp_path / "train").rglob("*.jpg"))) == 8
    case = DataCase(str(tmp_path), pictures=8, image_size=16, batch_size=4, workers=0, turns=1)
    found = bench_data(case)
    assert found["images_per_second"] > 0
    assert found["ratio"] == pytest.approx(found["images_per_second"] / found["baseline"], rel=0.05)


def test_the_command(tmp_path: Path) -> None:
    write_pictures(tmp_path, 8, 30, 40)
    options = ("--root", tmp_path, "--image-size", 16, "--batch-size", 4, "--workers", 0, "--turns", 1)
    assert json.loads(fine("bench", "data", *options, "--json", "-"))["image_size"] == 16
    assert "times as fast as the usual loop" in fine("bench", "data", *options)
    assert mistake("bench", "data", "--root", tmp_path / "nowhere").startswith(f"{tmp_path}/nowhere/train is not")


def test_a_batch_needs_as_many_pictures() -> None:
    with pytest.raises(UserError, match="pictures is 8; a batch has 64"):
        bench_data(DataCase(pictures=8))
