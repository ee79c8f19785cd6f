"""The figures of a comparison: each is there only where the runs have what it needs, and shows their numbers."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smskd.analysis.compare import Row, compare
from smskd.analysis.paired import with_differences
from smskd.errors import UserError
from smskd.report.comparison_figures import comparison_figures, numbered
from smskd.report.figures import printed, save_figures
from smskd.runs.reader import find_runs
from tests.support.run_folders import PLAIN, write_run

ORDERS = [[["at"], ["kd"]], [["at"], ["sp"]], [["kd"], ["at"]], [["kd"], ["sp"]]]


def rows(folder: Path, recipes: dict[str, dict[str, Any]], seeds: int = 2) -> list[Row]:
    for position, (name, own) in enumerate(recipes.items()):
        for seed in range(seeds):
            top1 = 60.0 + position + seed * (1 + 0.5 * position)
            values = {"name": name, "seed": seed, "top1": top1, "epochs_per_stage": 3, **own}
            write_run(folder / name / f"seed{seed}", **values)
    return compare(find_runs([folder]))


def names(found: list[Row]) -> list[str]:
    return [figure.name for figure in comparison_figures(found)]


def records(chart: Any) -> Iterator[dict[str, Any]]:
    for values in chart.to_dict()["datasets"].values():
        yield from values


def chart(found: list[Row], name: str) -> Any:
    return next(figure.chart for figure in comparison_figures(found) if figure.name == name)


def test_seeds_of_one_recipe_have_no_more_than_they_need(tmp_path: Path) -> None:
    assert names(rows(tmp_path, {"kd": {}})) == ["comparison", "curves"]


def test_orders_have_a_matrix(tmp_path: Path) -> None:
    found = rows(tmp_path, {f"order{number}": {"stages": stages} for number, stages in enumerate(ORDERS)})
    assert names(found) == ["comparison", "curves", "orders", "cost-seconds"]
    cells = {(record["first"], record["then"]): record for record in records(chart(found, "orders"))}
    assert set(cells) == {("at", "kd"), ("at", "sp"), ("kd", "at"), ("kd", "sp")}
    assert cells["at", "sp"]["value"] == pytest.approx(61.75)
    assert cells["at", "sp"]["text"] == ["61.75", "2 runs"]


def test_a_numeric_key_has_a_curve(tmp_path: Path) -> None:
    key = "stages.1.anchor.weight"
    found = rows(tmp_path, {f"weight{weight}": {"facts": {key: weight}} for weight in (0.5, 0.0, 0.3)})
    assert names(found) == ["comparison", "curves", "axis-1", "cost-seconds"]
    means = {record["x"]: record["value"] for record in records(chart(found, "axis-1")) if "low" in record}
    assert means == {0.5: pytest.approx(60.5), 0.0: pytest.approx(61.75), 0.3: pytest.approx(63.0)}


def test_the_number_of_stages_is_shown_for_training_and_test_images(tmp_path: Path) -> None:
    sequences = {"one": [["at"]], "two": [["at"], ["kd"]], "plain": PLAIN}
    found = rows(tmp_path, {name: {"stages": stages} for name, stages in sequences.items()})
    assert names(found) == ["comparison", "curves", "stages", "cost-seconds", "cost-epochs"]
    points = {(r["series"], r["x"]): r["value"] for r in records(chart(found, "stages")) if "low" in r}
    assert {key: pytest.approx(value) for key, value in points.items()} == {
        ("Test", 1): 60.5,
        ("Test", 2): 61.75,
        ("Train", 1): 66.5,
        ("Train", 2): 67.75,
    }


def test_gains_have_intervals_and_the_baseline_has_none(tmp_path: Path) -> None:
    found, _ = with_differences(rows(tmp_path, {"kd": {}, "at": {}, "sp": {}}, seeds=4), "kd")
    assert names(found)[:3] == ["comparison", "gains", "curves"]
    gains = {record["recipe"]: record for record in records(chart(found, "gains")) if "t_low" in record}
    assert set(gains) == {"at", "sp"}
    against = next(row.against for row in found if row.name == "at")
    assert against is not None
    assert against.half_width is not None
    assert gains["at"]["value"] == pytest.approx(1.75)
    assert gains["at"]["t_low"] == pytest.approx(1.75 - against.half_width)
    assert (gains["at"]["low"], gains["at"]["high"]) == against.interval
    assert (gains["at"]["filling"] == "transparent") == (against.corrected_p is None or against.corrected_p >= 0.05)
    assert gains["sp"]["filling"] != "transparent"


def test_more_than_six_recipes_become_small_charts_with_the_baseline_in_each(tmp_path: Path) -> None:
    found, _ = with_differences(rows(tmp_path, {f"recipe{number}": {} for number in range(7)}), "recipe0")
    gallery = chart(found, "curves")
    specification = gallery.to_dict()
    assert len(specification["facet"]["sort"]) == 7
    last = {r["series"]: r["mean"] for r in records(gallery) if (r["kind"], r["epoch"]) == ("recipe", 6)}
    assert last["recipe3 · 64.25"] == pytest.approx(64.25)
    baseline = {r["series"]: r["mean"] for r in records(gallery) if (r["kind"], r["epoch"]) == ("baseline", 6)}
    assert baseline == dict.fromkeys(last, pytest.approx(60.5))
    band = next(r for r in records(gallery) if (r["series"], r["epoch"]) == ("recipe0 · 60.50", 6))
    assert band["high"] - band["mean"] == pytest.approx(0.5**0.5)


def test_long_labels_have_numbers_since_charts_cut_them(tmp_path: Path) -> None:
    long = "fitnet,ends_after=5-8,carry=ema,reference=ema"
    found, _ = with_differences(rows(tmp_path, {f"{long}-{n}": {} for n in range(7)}), f"{long}-0")
    named = numbered(found)
    assert [row.label for row in named[:2]] == [f"1. {long}-0", f"2. {long}-1"]
    assert named[1].against is not None
    assert named[1].against.baseline == f"1. {long}-0"
    assert {r["kind"] for r in records(chart(named, "curves"))} == {"recipe", "baseline"}
    short = rows(tmp_path / "short", {"kd": {}, "at": {}})
    assert [row.label for row in numbered(short)] == ["at", "kd"]


def test_only_recipes_that_no_cheaper_one_reaches_are_marked(tmp_path: Path) -> None:
    recipes = {"slow": {"seconds": 60.0}, "fast": {"seconds": 30.0}, "best": {"seconds": 90.0}}
    found = rows(tmp_path, recipes)
    points = {record["recipe"]: record["best"] for record in records(chart(found, "cost-seconds"))}
    assert points == {"slow": False, "fast": True, "best": True}


def test_models_are_kept_apart(tmp_path: Path) -> None:
    recipes = {f"{student}-{n}": {"student": student, "stages": s} for student in "ab" for n, s in enumerate(ORDERS)}
    found = comparison_figures(rows(tmp_path, recipes, seeds=1))
    assert [figure.name for figure in found if figure.name.startswith("orders")] == ["orders-1", "orders-2"]
    assert found[2].heading == "Orders of methods: a from resnet20, digits"


def test_figures_have_the_width_of_a_column_and_embedded_fonts(tmp_path: Path) -> None:
    charts = {figure.name: figure.chart for figure in comparison_figures(rows(tmp_path / "runs", {"kd": {}, "at": {}}))}
    (pdf,) = save_figures({"curves": charts["curves"]}, tmp_path / "figures")
    content = pdf.read_bytes()
    box = re.search(rb"/MediaBox ?\[0 0 ([\d.]+) ([\d.]+)\]", content)
    assert box is not None
    assert float(box[1]) == pytest.approx(8.5 / 2.54 * 72, abs=0.1)
    assert b"/FontFile" in content
    (png,) = save_figures({"curves": charts["curves"]}, tmp_path / "figures", "png", width=5.0)
    assert int.from_bytes(png.read_bytes()[16:20], "big") == pytest.approx(5 / 2.54 * 300, abs=3)
    with pytest.raises(UserError, match="from 5 to 40 cm, not 2"):
        save_figures(charts, tmp_path, width=2.0)


def test_the_title_of_a_figure_is_broken_and_its_fonts_are_smaller(tmp_path: Path) -> None:
    found = chart(rows(tmp_path, {f"recipe{number}": {} for number in range(7)}, seeds=1), "curves").to_dict()
    small = printed(found, 320)
    assert len(small["title"]["text"]) > 1
    assert max(map(len, small["title"]["text"])) <= 46
    assert small["config"]["title"]["fontSize"] == pytest.approx(0.8 * found["config"]["title"]["fontSize"])
    assert small["columns"] == 2
    assert small["columns"] * small["spec"]["width"] < 320
