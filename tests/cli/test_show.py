"""The output of `smskd compare`, `report`, `methods`, `anchors`, `strategies` and `models`."""

import csv
import json
from pathlib import Path
from statistics import fmean, stdev

import pytest

from smskd.models.zoo import names as listing
from smskd.registry import ANCHORS, METHODS, STRATEGIES
from tests.support.program import fine


def accuracies(runs: Path) -> list[float]:
    files = [runs / f"seed{seed}" / "summary.json" for seed in (0, 1)]
    return [json.loads(file.read_text())["student"]["top1_last"] for file in files]


def test_comparison_as_a_table(runs: Path) -> None:
    printed = fine("compare", runs)
    values = accuracies(runs)
    words = printed.split()
    assert f"{fmean(values):.2f}" in words
    assert f"{stdev(values):.2f}" in words
    assert "±" in words
    assert max(map(len, printed.splitlines())) <= 80


def test_comparison_for_other_programs(runs: Path) -> None:
    values = accuracies(runs)
    (from_json,) = json.loads(fine("compare", runs, "--json"))
    (from_csv,) = csv.DictReader(fine("compare", runs, "--csv").splitlines())
    assert from_json["seeds"] == [0, 1]
    assert from_csv["seeds"] == "0 1"
    for row in (from_json, from_csv):
        assert float(row["top1_last_mean"]) == fmean(values)
        assert float(row["top1_last_sd"]) == stdev(values)


def test_comparison_as_markdown(runs: Path) -> None:
    lines = fine("compare", runs, "--markdown").splitlines()
    assert len(lines) == 3
    assert f"{fmean(accuracies(runs)):.2f} ± {stdev(accuracies(runs)):.2f}" in lines[2]
    assert all(line.startswith("| ") and line.endswith(" |") for line in lines)


def test_runs_may_be_named_one_by_one(runs: Path, teacher: Path) -> None:
    assert fine("compare", runs / "seed0", runs / "seed1", "--csv") == fine("compare", runs, "--csv")
    assert len(json.loads(fine("compare", runs, teacher, "--json"))) == 2


def test_page(here: Path, runs: Path) -> None:
    assert fine("report", runs, "--out", "page.html") == "page.html\n"
    assert "fitnet-kd" in (here / "page.html").read_text()


def test_page_beside_the_runs(here: Path, runs: Path) -> None:
    (here / "all").mkdir()
    (here / "all" / "one").symlink_to(runs / "seed0")
    assert fine("report", "all") == "all/report.html\n"
    assert (here / "all" / "report.html").is_file()


def test_every_method_on_one_line_or_two() -> None:
    printed = fine("methods")
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines[1:-3] if not line.startswith(" ")] == list(METHODS.names())
    assert lines[-1].endswith("smskd methods NAME")
    assert max(map(len, lines)) <= 80
    assert len(lines) < 1.5 * len(METHODS.names())


@pytest.mark.parametrize("name", METHODS.names())
def test_a_method_in_full(name: str) -> None:
    described = json.loads(fine("methods", name, "--json"))
    printed = fine("methods", name)
    assert printed.startswith(f"{name}: {described['title']}"[:70])
    formula, _, rest = printed.partition("\nformula\n")[2].partition("\n\n")
    assert " ".join(formula.split()) == " ".join(described["formula"].split())
    for item in described["hyperparameters"]:
        assert f"  {item['name']} " in rest
    outside = printed.replace(formula, "").splitlines()
    assert max(map(len, outside)) <= 80
    words = " ".join(printed.split())
    for text in (described["paper"], described["reads"], *described["differences"]):
        assert text.split()[0] in words


def test_methods_as_json() -> None:
    listed = json.loads(fine("methods", "--json"))
    assert [method["name"] for method in listed] == list(METHODS.names())
    assert json.loads(fine("methods", "kd", "--json")) in listed


def test_anchors() -> None:
    lines = fine("anchors").splitlines()
    assert [line.split()[0] for line in lines[1:-1] if not line.startswith(" ")] == list(ANCHORS.names())
    listed = json.loads(fine("anchors", "--json"))
    assert [anchor["name"] for anchor in listed] == list(ANCHORS.names())
    assert all(anchor["formula"] and anchor["hyperparameters"] for anchor in listed)


@pytest.mark.parametrize("name", ANCHORS.names())
def test_an_anchor_in_full(name: str) -> None:
    described = json.loads(fine("anchors", name, "--json"))
    printed = fine("anchors", name)
    assert printed.startswith(f"{name}: {described['title']}"[:70])
    assert all(f"  {item['name']} " in printed for item in described["hyperparameters"])


def test_strategies() -> None:
    listed = json.loads(fine("strategies", "--json"))
    assert [strategy["name"] for strategy in listed] == list(STRATEGIES.names())
    assert {"sequential", "joint"} <= {strategy["name"] for strategy in listed}
    printed = " ".join(fine("strategies").split())
    assert all(strategy["summary"] in printed for strategy in listed)


def test_a_model_in_full() -> None:
    printed = fine("models", "resnet20")
    assert printed.startswith("resnet20: ")
    assert "278,324 with 100 classes" in printed
    assert "  stage3  64 x 8 x 8" in [line.rstrip() for line in printed.splitlines()]
    facts = json.loads(fine("models", "resnet20", "--json"))
    assert (facts["name"], facts["parameters"], facts["features"]["stage3"]) == ("resnet20", 278324, [64, 8, 8])


def test_every_model(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("resnet8", "resnet20_w2", "vgg8")
    monkeypatch.setattr(listing, "_NAMES", names)
    lines = fine("models").splitlines()
    assert [line.split()[0] for line in lines[1:4]] == list(names)
    assert max(map(len, lines)) <= 80
    assert [facts["name"] for facts in json.loads(fine("models", "--json"))] == list(names)
