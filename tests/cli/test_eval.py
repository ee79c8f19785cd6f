"""`smskd eval`: the same accuracy as in the summary, to the last digit."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import TINY, fine, mistake


def evaluated(*words: object) -> list[dict[str, Any]]:
    printed = json.loads(fine("eval", *words, "--json"))
    assert isinstance(printed, list)
    return printed


def summary_of(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def test_a_run_has_the_accuracy_of_its_summary(runs: Path) -> None:
    (found,) = evaluated(runs / "seed0")
    student = summary_of(runs / "seed0")["student"]
    assert (found["top1"], found["top5"]) == (student["top1"], student["top5"])
    assert found["model"] == student["model"] == "resnet8_w4"
    assert found["images"] == 64
    assert found["weights"] == str(runs / "seed0" / "student.safetensors")


def test_the_student_of_each_stage(runs: Path) -> None:
    files = [runs / "seed1" / "stages" / str(stage) / "student.safetensors" for stage in (1, 2)]
    stages = summary_of(runs / "seed1")["stages"]
    assert [found["top1"] for found in evaluated(*files)] == [stage["top1_carried"] for stage in stages]


def test_a_folder_stands_for_the_runs_in_it(runs: Path) -> None:
    found = evaluated(runs)
    expected = [summary_of(runs / f"seed{seed}")["student"]["top1"] for seed in (0, 1)]
    assert [row["top1"] for row in found] == expected


def test_loose_weights_with_a_recipe(here: Path, runs: Path) -> None:
    shutil.copy(runs / "seed0" / "student.safetensors", here / "loose.safetensors")
    assert mistake("eval", "loose.safetensors") == (
        "loose.safetensors is not in the folder of a run; give the recipe with its data and student: --recipe RECIPE"
    )
    words = [word for override in TINY for word in ("--set", override)]
    (found,) = evaluated("loose.safetensors", "--recipe", "digits/teacher", *words)
    assert found["top1"] == summary_of(runs / "seed0")["student"]["top1"]
    assert found["model"] == "resnet8_w4"


def test_changes_to_the_recipe(runs: Path) -> None:
    (found,) = evaluated(runs / "seed0", "--set", "data.subset.test=10")
    assert found["images"] == 10
    assert mistake("eval", runs / "seed0", "--set", "foo") == "'foo' is not of the form key.path=value"


def test_the_table_shows_the_whole_path(runs: Path) -> None:
    printed = fine("eval", runs / "seed0", runs / "seed0" / "stages" / "1" / "student.safetensors")
    joined = "".join(line.split("  ")[0].strip() for line in printed.splitlines())
    assert str(runs / "seed0" / "stages" / "1" / "student.safetensors") in joined
    assert f"{summary_of(runs / 'seed0')['student']['top1']:.2f}" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_a_folder_without_a_finished_run(here: Path) -> None:
    (here / "empty").mkdir()
    assert mistake("eval", "empty") == "empty contains no finished run (no student.safetensors in it)"


@pytest.mark.parametrize("methods", ["simkd", "simkd,kd"])
def test_a_student_with_the_head_of_simkd(here: Path, taught: tuple[str, ...], methods: str) -> None:
    fine("train", "digits/kd", *taught, f"methods={methods}", "--out", "r", "-q")
    stages = methods.count(",") + 1
    (found,) = evaluated("r")
    student = summary_of(here / "r")["student"]
    assert (found["top1"], found["top5"]) == (student["top1"], student["top5"])
    (of_stage,) = evaluated(here / "r" / "stages" / str(stages) / "student.safetensors")
    assert of_stage["top1"] == student["top1"]
