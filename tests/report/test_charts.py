"""The contents of the charts' specifications, and their conversion to SVG."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from smskd.analysis.compare import compare
from smskd.report import marks, stage_marks, theme
from smskd.report.accuracy_chart import accuracy_chart
from smskd.report.charts import run_charts
from smskd.report.comparison_charts import comparison_chart, curves_chart
from smskd.report.loss_chart import loss_chart
from smskd.report.outcome_chart import outcome_chart
from smskd.report.svg import save_svg
from smskd.runs.reader import Run, find_runs, load_run
from tests.support.run_folders import PLAIN, THREE, write_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return load_run(write_run(tmp_path / "run", stages=THREE))


def records(chart: Any) -> Iterator[dict[str, Any]]:
    for values in chart.to_dict()["datasets"].values():
        yield from values


def test_accuracy_has_both_curves_and_the_teacher(run: Run) -> None:
    found = list(records(accuracy_chart(run)))
    test = [record["value"] for record in found if record.get("series") == "Test"]
    train = [record["value"] for record in found if record.get("series") == "Train"]
    assert test == [entry["test_top1"] for entry in run.metrics]
    assert train == [entry["train_top1"] for entry in run.metrics]
    assert {"value": 78.5, "text": "Teacher 78.50"} in found
    points = {record["point"]: record["epoch"] for record in found if "point" in record}
    assert points == {"Last epoch": 30}
    assert "Validation" not in {record.get("series") for record in found}


def test_accuracy_shows_validation_where_there_is_a_split(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", best=62.0))
    found = list(records(accuracy_chart(run)))
    validation = [record["value"] for record in found if record.get("series") == "Validation"]
    assert validation == [entry["validation_top1"] for entry in run.metrics]
    points = {record["point"]: (record["epoch"], record["value"]) for record in found if "point" in record}
    assert points == {"Best epoch by validation": (19, 62.0), "Last epoch": (20, 65.0)}
    layers = accuracy_chart(run).to_dict()["layer"]
    (strip,) = (layer for layer in layers if layer["mark"]["type"] == "rect")
    titles = [line["title"] for line in strip["encoding"]["tooltip"]]
    assert titles[3:] == ["Test top-1 %", "Validation top-1 %", "Train top-1 %", "Test top-5 %"]


def test_accuracy_axes_do_not_begin_at_zero(run: Run) -> None:
    layers = accuracy_chart(run).to_dict()["layer"]
    scales = [layer["encoding"]["y"].get("scale") for layer in layers if "field" in layer["encoding"].get("y", {})]
    assert scales
    assert all(scale["domain"][0] > 20 and scale["zero"] is False for scale in scales)


def test_accuracy_axes_stay_within_percents() -> None:
    assert marks.percent_scale([40.0, None, 80.0]).to_dict()["domain"] == [38.0, 82.0]
    assert marks.percent_scale([0.5, 99.9, float("nan")]).to_dict()["domain"] == [0.0, 100.0]


@pytest.fixture
def few_parts(tmp_path: Path) -> Run:
    """Six parts of the loss with their total, which fit into one chart."""
    return load_run(write_run(tmp_path / "few", stages=[["sp"], ["fitnet"], ["dkd"]]))


def test_losses_of_very_different_size_get_a_log_axis(few_parts: Run) -> None:
    run = few_parts

    def kinds() -> set[str]:
        layers = loss_chart(run).to_dict()["layer"]
        ys = [layer["encoding"].get("y", {}) for layer in layers]
        return {y["scale"].get("type", "linear") for y in ys if y.get("field") == "value"}

    assert kinds() == {"linear"}
    for entry in run.metrics[:10]:
        entry["losses"]["total"] = 150.0
    assert kinds() == {"log"}
    run.metrics[3]["losses"]["sp"] = -0.1
    assert kinds() == {"linear"}


def test_more_than_six_parts_become_small_charts(run: Run, few_parts: Run) -> None:
    assert "facet" not in loss_chart(few_parts).to_dict()
    found = loss_chart(run).to_dict()
    assert found["facet"]["sort"] == ["total", "ce", "at", "sp", "fitnet", "anchor", "dkd"]
    assert found["resolve"]["scale"]["y"] == "independent"


def test_a_zero_has_no_place_on_a_log_axis(few_parts: Run) -> None:
    run = few_parts
    for entry in run.metrics[:10]:
        entry["losses"]["anchor"] = 0.0
    assert 0.0 in [record.get("value") for record in records(loss_chart(run))]
    for entry in run.metrics[:10]:
        entry["losses"]["total"] = 150.0
    assert 0.0 not in [record.get("value") for record in records(loss_chart(run))]


def test_stages_begin_at_rules_and_are_named(run: Run, few_parts: Run) -> None:
    for chart, first in ((accuracy_chart(run), "1 · at + sp"), (loss_chart(few_parts), "1 · sp")):
        found = list(records(chart))
        assert [record for record in found if record == {"epoch": 10.5}]
        assert [record for record in found if record == {"epoch": 20.5}]
        labels = {record["text"] for record in found if " · " in str(record.get("text"))}
        assert labels == {first, "2 · fitnet", "3 · dkd"}


def test_stage_labels_keep_apart() -> None:
    def stage(index: int, first: int, last: int, *methods: str) -> dict[str, Any]:
        return {"index": index, "epochs": [first, last], "methods": methods}

    roomy = stage_marks.labels([stage(1, 1, 50, "fitnet"), stage(2, 51, 100, "kd")])
    assert [(label.line, label.align, label.epoch) for label in roomy] == [(0, "left", 0.5), (0, "left", 50.5)]
    tight = stage_marks.labels([stage(1, 1, 4, "fitnet"), stage(2, 5, 90, "kd"), stage(3, 91, 100, "reviewkd")])
    assert [(label.line, label.align) for label in tight] == [(0, "left"), (1, "left"), (0, "right")]
    assert tight[2].epoch == 100.5


def test_losses_have_every_part_where_it_occurs(run: Run) -> None:
    found = [record for record in records(loss_chart(run)) if "series" in record]
    at = [record for record in found if record["series"] == "at"]
    anchor = [record for record in found if record["series"] == "anchor"]
    assert [record["epoch"] for record in at] == list(range(1, 11))
    assert [record["epoch"] for record in anchor] == list(range(11, 31))
    assert {record["series"] for record in found} == {"total", "ce", "at", "sp", "fitnet", "anchor", "dkd"}


def test_a_loss_that_is_not_finite_leaves_a_gap(run: Run) -> None:
    run.metrics[2]["losses"]["total"] = float("nan")
    specification = loss_chart(run).to_dict()
    json.dumps(specification, allow_nan=False)
    totals = [record for record in records(loss_chart(run)) if record.get("series") == "total"]
    assert [record["epoch"] for record in totals][:3] == [1, 2, 4]


def test_a_part_that_stays_zero_is_left_out(run: Run) -> None:
    for entry in run.metrics:
        entry["losses"]["idle"] = 0.0
    assert "idle" not in {record.get("series") for record in records(loss_chart(run))}


def test_outcomes_fill_each_bar(run: Run) -> None:
    found = [record for record in records(outcome_chart(run)) if record.get("stage") == "2 · fitnet"]
    bars = {record["series"]: record for record in found}
    assert {name: record["samples"] for name, record in bars.items()} == {
        "Retained": 200,
        "Learned": 36,
        "Forgotten": 18,
        "Never known": 106,
    }
    assert bars["Forgotten"]["share"] == pytest.approx(5.0)
    assert bars["Never known"]["end"] == pytest.approx(100.0)


def test_one_stage_has_no_outcomes(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", stages=PLAIN, teacher_top1=None, classes=3))
    assert list(run_charts(run)) == ["accuracy", "losses"]


def test_comparison_shows_seeds_mean_and_teacher(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / f"{seed}", seed=seed, top1=64.0 + 2 * seed) for seed in range(3)]
    paths.append(write_run(tmp_path / "plain", name="plain", stages=PLAIN, top1=60.0, teacher_top1=None))
    rows = compare(find_runs(paths))
    found = list(records(comparison_chart(rows)))
    assert sorted(record["value"] for record in found if "seed" in record) == [60.0, 64.0, 66.0, 68.0]
    mean = next(record for record in found if record.get("mean") == 66.0)
    assert (mean["value"], mean["high"], mean["text"]) == (64.0, 68.0, "66.00 ± 2.00")
    assert {record["recipe"] for record in found if "teacher" in record} == {"fitnet-kd"}


def test_curves_average_the_epochs_that_all_seeds_have(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / f"{n}", seed=n, epochs_per_stage=n) for n in (3, 4)]
    runs = find_runs(paths)
    found = [record for record in records(curves_chart(compare(runs))) if "series" in record]
    assert [record["epoch"] for record in found] == [1, 2, 3, 4, 5, 6]
    assert found[0]["value"] == pytest.approx(sum(run.metrics[0]["test_top1"] for run in runs) / 2)


def test_curves_show_validation_where_all_runs_have_a_split(tmp_path: Path) -> None:
    with_split = [write_run(tmp_path / f"{seed}", seed=seed, best=62.0) for seed in range(2)]
    chart = curves_chart(compare(find_runs(with_split)))
    found = [record["value"] for record in records(chart) if "series" in record]
    assert found == [entry["validation_top1"] for entry in load_run(with_split[0]).metrics]
    assert chart.to_dict()["title"]["text"].startswith("Validation accuracy")
    runs = find_runs([*with_split, write_run(tmp_path / "kd", name="kd")])
    chart = curves_chart(compare(runs))
    assert chart.to_dict()["title"]["text"].startswith("Test accuracy")
    kd = [record["value"] for record in records(chart) if record.get("series") == "kd"]
    assert kd == [entry["test_top1"] for entry in runs[-1].metrics]


def test_the_tooltip_of_a_comparison_has_the_best_epoch_only_with_validation(tmp_path: Path) -> None:
    def titles(best: float | None, folder: str) -> set[str]:
        rows = compare([load_run(write_run(tmp_path / folder, best=best))])
        layers = comparison_chart(rows).to_dict()["layer"]
        return {line["title"] for layer in layers for line in layer["encoding"].get("tooltip", [])}

    assert titles(66.0, "a") - titles(None, "b") == {"Best epoch by validation"}


def test_every_chart_becomes_svg(run: Run, tmp_path: Path) -> None:
    charts = run_charts(run) | {"comparison": comparison_chart(compare([run])), "curves": curves_chart(compare([run]))}
    for name, chart in charts.items():
        path = tmp_path / "charts" / f"{name}.svg"
        save_svg(chart, path)
        root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
        assert root.tag.endswith("svg")
        assert float(root.attrib["width"]) > 600
    texts = "".join(ElementTree.parse(tmp_path / "charts" / "accuracy.svg").getroot().itertext())
    assert "3 · dkd" in texts
    assert not list((tmp_path / "charts").glob(".*"))


def test_method_names_with_dots_and_colons_are_drawn(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", stages=[["my.package:Loss[1]"]]))
    save_svg(loss_chart(run), tmp_path / "losses.svg")
    root = ElementTree.parse(tmp_path / "losses.svg").getroot()
    assert "my.package:Loss[1]" in "".join(root.itertext())


def test_each_colour_has_a_counterpart_in_the_dark() -> None:
    lights = {
        theme.INK,
        theme.MUTED,
        theme.RULE,
        theme.GRID,
        theme.GREY,
        theme.ON_DEEP,
        theme.ON_BRIGHT,
        theme.PALE,
        theme.GROUND,
        *theme.PALETTE,
    }
    assert set(theme.DARK) == lights
    assert len(set(theme.DARK.values())) == len(lights)


@pytest.mark.parametrize(("ground", "pick"), [("#ffffff", theme.light), ("#15171c", theme.dark)])
def test_colours_stand_out_from_the_ground(ground: str, pick: Any) -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for colour in (theme.MUTED, theme.GREY, *theme.PALETTE):
        dim, bright = sorted((luminance(pick(colour)), luminance(ground)))
        assert (bright + 0.05) / (dim + 0.05) >= 3.0


def test_lines_of_one_colour_differ_in_their_dashes() -> None:
    looks = {(colour, tuple(dash)) for colour, dash in zip(theme.colours(12), theme.dashes(12), strict=True)}
    assert len(looks) == 12
