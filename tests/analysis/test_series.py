"""Which rows of a comparison form series along a number, and which are orders of methods."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from smskd.analysis.compare import Row, compare
from smskd.analysis.series import axes, followers, groups, has_orders
from smskd.runs.reader import find_runs
from tests.support.run_folders import write_run


def rows(folder: Path, recipes: Sequence[dict[str, Any]]) -> list[Row]:
    for number, own in enumerate(recipes):
        write_run(folder / f"{number}", **{"name": f"recipe{number}", "epochs_per_stage": 2, **own})
    return compare(find_runs([folder]))


def test_a_key_that_alone_differs_is_an_axis(tmp_path: Path) -> None:
    weights = [0.5, 0.0, 0.3]
    (axis,) = axes(rows(tmp_path, [{"facts": {"stages.1.anchor.weight": weight}} for weight in weights]))
    assert axis.key == "stages.1.anchor.weight"
    assert [(value, row.name) for value, row in axis.series[""]] == [
        (0.0, "recipe1"),
        (0.3, "recipe2"),
        (0.5, "recipe0"),
    ]


def test_two_values_are_no_axis(tmp_path: Path) -> None:
    assert axes(rows(tmp_path, [{"facts": {"stages.1.anchor.weight": weight}} for weight in (0.0, 0.3)])) == []


def test_each_sequence_of_methods_is_a_series(tmp_path: Path) -> None:
    recipes = [
        {"stages": stages, "facts": {"stages.0.ends_after": end}}
        for stages in ([["fitnet"], ["kd"]], [["at"], ["kd"]])
        for end in (2, 4, 6)
    ]
    (axis,) = axes(rows(tmp_path, recipes))
    assert {name: [value for value, _ in points] for name, points in axis.series.items()} == {
        "fitnet → kd": [2, 4, 6],
        "at → kd": [2, 4, 6],
    }


def test_numbers_that_change_together_are_one_axis(tmp_path: Path) -> None:
    recipes = [{"facts": {"stages.0.ends_after": end, "schedule.decay_at": [end, end + 2]}} for end in (2, 4, 6)]
    assert [axis.key for axis in axes(rows(tmp_path, recipes))] == ["stages.0.ends_after"]


def test_a_number_of_another_method_is_no_axis(tmp_path: Path) -> None:
    recipes = [
        {"stages": [[method]], "facts": {"stages.0.methods.0.weight": weight}}
        for method, weight in (("kd", 1.0), ("fitnet", 100.0), ("sp", 3000.0))
    ]
    assert axes(rows(tmp_path, recipes)) == []


def test_followers_are_counted_over_runs_and_seeds(tmp_path: Path) -> None:
    recipes = [
        {"name": "a", "stages": [["at"], ["kd"]], "top1": 60.0},
        {"name": "a", "stages": [["at"], ["kd"]], "top1": 62.0, "seed": 1},
        {"name": "b", "stages": [["at"], ["kd"], ["sp"]], "top1": 67.0},
        {"name": "c", "stages": [["kd"], ["at"]], "top1": 50.0},
        {"name": "d", "stages": [["kd"], ["sp", "at"]], "top1": 40.0},
    ]
    found = rows(tmp_path, recipes)
    pairs = {(each.first, each.then): (each.top1, each.runs) for each in followers(found)}
    assert pairs == {
        ("at", "kd"): (pytest.approx(63.0), 3),
        ("kd", "sp"): (67.0, 1),
        ("kd", "at"): (50.0, 1),
        ("kd", "sp + at"): (40.0, 1),
    }
    assert not has_orders(found)  # only KD is followed by different methods


def test_all_orders_are_orders_and_a_growing_sequence_is_not(tmp_path: Path) -> None:
    orders = [[["at"], ["kd"]], [["at"], ["sp"]], [["kd"], ["at"]], [["kd"], ["sp"]]]
    assert has_orders(rows(tmp_path / "orders", [{"stages": stages} for stages in orders]))
    growing = [[["at"]], [["at"], ["kd"]], [["at"], ["kd"], ["sp"]]]
    assert not has_orders(rows(tmp_path / "growing", [{"stages": stages} for stages in growing]))


def test_rows_of_other_models_or_data_are_kept_apart(tmp_path: Path) -> None:
    found = groups(rows(tmp_path, [{}, {"student": "resnet8_w8"}, {"data": "cifar10"}, {"name": "again"}]))
    assert [[row.name for row in own] for own in found.values()] == [["recipe0", "again"], ["recipe1"], ["recipe2"]]
