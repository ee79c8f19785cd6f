"""Runs are pooled by identity, not by name: those of other settings, data or networks stand apart, with a label."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from smskd.analysis.compare import Row, compare, notes
from smskd.analysis.labels import unique_labels
from smskd.analysis.paired import paired_difference
from smskd.errors import UserError
from smskd.runs.reader import find_runs
from tests.support.run_folders import PLAIN, sealed, write_run


def rows_of(folder: Path, *facts: Mapping[str, Any]) -> list[Row]:
    """The comparison of plain runs with these facts; the seeds count up."""
    for seed, own in enumerate(facts):
        write_run(folder / f"{seed:03}", name="plain", seed=seed, stages=PLAIN, teacher_top1=None, facts=own)
    return compare(find_runs([folder]))


def labels_of(folder: Path, *facts: Mapping[str, Any]) -> list[str]:
    return [row.label for row in rows_of(folder, *facts)]


def test_two_learning_rates_are_no_seeds(tmp_path: Path) -> None:
    other = {"optimizer.learning_rate": 1e-05, "training.batch_size": 128}
    rows = rows_of(tmp_path, {}, other, {}, other)
    assert [row.seeds for row in rows] == [(0, 2), (1, 3)]
    assert [row.label for row in rows] == [
        "plain · training.batch_size=64, optimizer.learning_rate=0.05",
        "plain · training.batch_size=128, optimizer.learning_rate=1e-05",
    ]
    assert notes(rows) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("semantics", 3),
        ("fingerprints.train", "other images"),
        ("fingerprints.test", "other images"),
        ("fingerprints.student_structure", "another structure"),
        ("fingerprints.teacher", "another teacher"),
        ("fingerprints.augmentation", "mean and standard deviation"),
        ("student.options.model_name", "mobilenetv3_small_050"),
        ("data.subset.train", 100),
        ("runtime.precision", "bf16"),
        ("a.key.of.a.later.version", True),
    ],
)
def test_whatever_determines_a_result_separates(tmp_path: Path, key: str, value: object) -> None:
    rows = rows_of(tmp_path, {}, {key: value})
    assert [row.seeds for row in rows] == [(0,), (1,)]
    assert len({row.label for row in rows}) == 2
    assert all(row.label.startswith("plain · ") for row in rows)


def test_the_seed_and_what_follows_from_it_do_not_separate(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, {}, {}, {})
    assert (row.label, row.seeds) == ("plain", (0, 1, 2))


def test_harmless_keys_and_environments_are_told(tmp_path: Path) -> None:
    write_run(tmp_path / "a", seed=0)
    write_run(tmp_path / "b", seed=1, facts={"runtime.device": "cuda"}, environment={"torch": "2.14.0", "cores": 8})
    (row,) = compare(find_runs([tmp_path]))
    assert row.seeds == (0, 1)
    assert row.notes == (
        "fitnet-kd: the runs differ in their environments: torch (2.11.0, 2.14.0), runtime.device (cpu, cuda)",
    )


@pytest.mark.parametrize("file", [True, False])
def test_initial_weights_follow_from_the_seed_unless_they_come_from_a_file(tmp_path: Path, file: bool) -> None:
    for seed in range(2):
        folder = write_run(tmp_path / f"{seed}", seed=seed)
        if file:
            recipe = {"name": "fitnet-kd", "student": {"weights": f"weights{seed}.pth"}}
            (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert len(compare(find_runs([tmp_path]))) == (2 if file else 1)


def test_students_that_a_program_brings_with_one_seed_stand_apart(tmp_path: Path) -> None:
    for number in range(2):
        write_run(tmp_path / f"{number}", seed=3, facts={"fingerprints.student": f"weights {number}"})
    rows = compare(find_runs([tmp_path]))
    assert [row.seeds for row in rows] == [(3,), (3,)]
    assert notes(rows) == []
    assert len({row.label for row in rows}) == 2


def test_a_copy_is_counted_once(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", seed=3, top1=65.0)
    write_run(tmp_path / "b", seed=4, top1=66.0)
    shutil.copytree(first, tmp_path / "c")
    (row,) = compare(find_runs([tmp_path]))
    assert (row.seeds, row.top1_last.mean) == ((3, 4), 65.5)
    assert row.notes == (
        f"{first} and {tmp_path / 'c'} are copies of one run (fitnet-kd, seed 3), which is counted once",
    )


def test_one_seed_with_two_results_is_told(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / name, seed=3, top1=top1) for name, top1 in (("a", 65.0), ("b", 64.5))]
    (row,) = compare(find_runs(paths))
    assert (row.seeds, row.top1_last.values) == ((3,), (65.0,))
    assert row.notes == (
        f"{paths[0]} and {paths[1]}: two results for fitnet-kd with seed 3 (65.00 %, 64.50 %); "
        "only the first is counted",
    )


def test_variants_of_one_recipe_have_labels(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", stages=[["crd"]])
    write_run(tmp_path / "c", stages=[["fitnet", "kd"]], facts={"strategy.name": "joint", "stages.0.ends_after": 9})
    assert [row.label for row in compare(find_runs([tmp_path]))] == [
        "fitnet-kd · methods=fitnet → kd",
        "fitnet-kd · methods=crd",
        "fitnet-kd · methods=fitnet + kd",
    ]


def test_labels_name_causes_before_their_consequences() -> None:
    adam = {"optimizer.name": "adamw", "optimizer.learning_rate": 0.001, "optimizer.betas": [0.9, 0.99]}
    sgd = {"optimizer.name": "sgd", "optimizer.learning_rate": 0.05}
    assert unique_labels([("a", sgd), ("a", adam)]) == ["a · optimizer.name=sgd", "a · optimizer.name=adamw"]
    faster = {**sgd, "optimizer.learning_rate": 0.1}
    assert unique_labels([("a", sgd), ("a", adam), ("a", faster)]) == [
        "a · optimizer.name=sgd, optimizer.learning_rate=0.05",
        "a · optimizer.name=adamw, optimizer.learning_rate=0.001",
        "a · optimizer.name=sgd, optimizer.learning_rate=0.1",
    ]
    data = {"data.subset.train": 9, "fingerprints.train": "x"}
    assert unique_labels([("a", data), ("a", {"data.subset.train": 8, "fingerprints.train": "y"}), ("b", data)]) == [
        "a · data.subset.train=9",
        "a · data.subset.train=8",
        "b",
    ]


def test_labels_are_unique_even_where_values_are_cut() -> None:
    long = "x" * 90
    found = unique_labels([("a", {"student.name": f"{long}1"}), ("a", {"student.name": f"{long}2"})])
    assert len(set(found)) == 2
    assert all(len(label) < 80 for label in found)


def test_the_baseline_has_the_same_images_and_student_and_the_nearest_settings(tmp_path: Path) -> None:
    def plain(name: str, top1: float, **facts: object) -> None:
        keys = {key.replace("__", "."): value for key, value in facts.items()}
        write_run(tmp_path / name, name="plain", stages=PLAIN, top1=top1, teacher_top1=None, facts=keys)

    plain("a", 10.0, fingerprints__train="other images")
    plain("b", 20.0, fingerprints__test="other images")
    plain("c", 30.0, fingerprints__student_structure="another network")
    plain("d", 40.0, optimizer__learning_rate=0.5)
    plain("e", 60.0)
    write_run(tmp_path / "kd", name="kd", stages=[["kd"]], top1=65.0)
    *plains, kd = compare(find_runs([tmp_path]))
    assert kd.over_plain == pytest.approx(5.0)
    assert kd.baseline == plains[4].label
    assert [row.over_plain for row in plains] == [None] * 5


@pytest.mark.parametrize("key", ["fingerprints.train", "fingerprints.test"])
def test_runs_on_other_images_are_not_paired(tmp_path: Path, key: str) -> None:
    write_run(tmp_path / "a", name="a")
    write_run(tmp_path / "b", name="b", facts={key: "other images"})
    one, other = compare(find_runs([tmp_path]))
    with pytest.raises(UserError, match="a and b have other images"):
        paired_difference(one, other)


def test_an_edited_summary_does_not_count(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    summary = json.loads((folder / "summary.json").read_text())
    summary["identity"]["runtime.seed"] = 9
    (folder / "summary.json").write_text(sealed(summary))
    with pytest.raises(UserError, match=r"summary.json: damaged: seed is not that of identity"):
        find_runs([folder])
