"""What an analysis adds to the page of a run."""

import base64
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from smskd.diagnostics import RunAnalysis, analyse
from smskd.diagnostics.forgotten_samples import forgotten_samples
from smskd.diagnostics.page_figures import figures
from smskd.report import page
from smskd.runs.reader import Run, load_run
from smskd.session import reopen_folder
from tests.support.program import fine, mistake


@pytest.fixture(scope="module")
def found(run: Path) -> RunAnalysis:
    return analyse(run, train_images=60, gradient_batches=0)


def with_transfer(found: RunAnalysis, forgotten: tuple[int, ...], mistaken_for: tuple[int, ...]) -> RunAnalysis:
    """The analysis with other samples forgotten in the second stage."""
    stage = found.stages[1]
    moved = stage.parts["test"].transfer
    assert moved is not None
    test = replace(stage.parts["test"], transfer=replace(moved, forgotten=forgotten, mistaken_for=mistaken_for))
    return replace(found, stages=(found.stages[0], replace(stage, parts={**stage.parts, "test": test})))


def records(chart: Any) -> list[dict[str, Any]]:
    return [record for values in chart.to_dict()["datasets"].values() for record in values]


def test_forgotten_samples_are_the_images_of_the_data(run: Path, found: RunAnalysis) -> None:
    images = reopen_folder(run).load().test
    (group,) = forgotten_samples(load_run(run), with_transfer(found, (3, 70), (8, 1)))
    assert "All 2 test images" in group.note
    truths = [int(images[row][1]) for row in (3, 70)]
    assert [item.lines for item in group.items] == [
        (f"{truths[0]} → 8", "test image 3"),
        (f"{truths[1]} → 1", "test image 70"),
    ]
    for row, item in zip((3, 70), group.items, strict=True):
        assert item.source is not None
        kind, content = item.source.split(",")
        assert kind == "data:image/png;base64"
        pixels = torch.frombuffer(
            bytearray(Image.open(io.BytesIO(base64.b64decode(content))).tobytes()), dtype=torch.uint8
        )
        assert torch.equal(pixels.reshape(8, 8), images[row][0][0])


def test_of_many_forgotten_samples_some_are_shown(run: Path, found: RunAnalysis) -> None:
    (group,) = forgotten_samples(load_run(run), with_transfer(found, tuple(range(90)), (0,) * 90))
    assert len(group.items) == 24
    assert group.items[0].lines[1] == "test image 0"
    assert group.items[-1].lines[1] == "test image 89"
    assert list(forgotten_samples(load_run(run), with_transfer(found, (), ()))) == []


def test_figures_show_the_numbers_of_the_analysis(run: Path, found: RunAnalysis) -> None:
    made = {figure.name: figure.chart for figure in figures(load_run(run), found)}
    assert list(made) == ["classes-2", "calibration", "confidence", "weights", "similarity"]
    moved = found.stages[1].parts["test"].transfer
    assert moved is not None
    bars = {(r["class"], r["series"]): r["samples"] for r in records(made["classes-2"])}
    assert bars["3", "Never known"] == moved.by_class["3"].never_known
    train = found.stages[0].parts["train"].tcp
    shares = records(made["weights"])
    assert [r["samples"] for r in shares] == pytest.approx([100 * share for share in train.histogram])
    assert [r["weight"] for r in shares] == pytest.approx([100 * share for share in train.weight])
    assert {r["series"] for r in records(made["confidence"])} == {"1 · fitnet", "2 · kd", "Teacher"}
    assert {r["column"] for r in records(made["similarity"]) if r["series"] == "2 · kd"} >= {"start of the stage"}


def test_the_complement_weights_what_the_probability_does_not(run: Path, found: RunAnalysis) -> None:
    loaded = load_run(run)
    recipe: dict[str, Any] = json.loads(json.dumps(loaded.recipe))
    train = found.stages[0].parts["train"].tcp

    def weights(**anchor: str) -> list[float]:
        recipe["stages"][1]["anchor"] |= anchor
        other: Run = replace(loaded, recipe=recipe)
        made = [figure for figure in figures(other, found) if figure.name == "weights"]
        return [record["weight"] for figure in made for record in records(figure.chart)]

    complement = weights(tcp="complement")
    assert sum(complement) == pytest.approx(100)
    both = [w * (1 - train.mean) + 100 * p * train.mean for w, p in zip(complement, train.weight, strict=True)]
    assert both == pytest.approx([100 * share for share in train.histogram])
    assert weights(tcp="none") == []
    taught = found.teacher_tcp["train"].weight
    assert weights(tcp="probability", tcp_from="teacher") == pytest.approx([100 * share for share in taught])


def test_the_command_adds_the_analysis(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "library", lambda: "")
    monkeypatch.setattr(page, "save_svgs", lambda *_: None)
    copy = shutil.copytree(run, tmp_path / "run")
    fine("report", copy)
    assert "Students of the stages" not in (copy / "report.html").read_text()
    fine("report", copy, "--analysis")
    html = (copy / "report.html").read_text()
    for words in (
        "Students of the stages",
        "Retained and forgotten",
        "Outcomes by class in stage 2 · kd",
        "Calibration",
    ):
        assert words in html
    assert 'data-chart="run0-weights"' in html
    assert "Conflict of gradients" in html


def test_options_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    assert mistake("report", tmp_path, "--format", "png") == (
        "--format is that of figures; give their folder with --figures"
    )
    assert mistake("report", tmp_path, "--width", "9") == "--width is that of figures; give their folder with --figures"
    file = tmp_path / "file"
    file.write_text("")
    assert mistake("report", tmp_path, "--figures", file) == f"--figures: {file} is a file; give a folder"
    assert mistake("compare", tmp_path, "--html", tmp_path) == (
        f"--html: {tmp_path} is a folder; give the name of an HTML file"
    )


def test_metrics_have_what_is_forgotten_since_the_start_of_the_stage(run: Path) -> None:
    loaded = load_run(run)
    moved = [entry.get("transitions") for entry in loaded.metrics]
    assert moved[:2] == [None, None]
    keys = ("retained", "forgotten", "learned", "never_known")
    assert all(sum(each[key] for key in keys) == 90 for each in moved[2:])
    assert moved[-1] == {key: loaded.stages[1][key] for key in keys}
    start = loaded.metrics[1]["test_top1"]
    for entry in loaded.metrics[2:]:
        counts = entry["transitions"]
        assert counts["retained"] + counts["forgotten"] == round(0.9 * start)
        assert counts["retained"] + counts["learned"] == round(0.9 * entry["test_top1"])
