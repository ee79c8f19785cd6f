"""Descriptions of methods, parsed from their docstrings."""

import json
import re
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from smskd.methods._describe import describe
from smskd.methods.kd import KD
from smskd.registry import METHODS

DEFAULTS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "defaults.json").read_text())


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_has_differences_a_formula_and_a_year(name: str) -> None:
    description = describe(name)
    assert description.name == name
    assert description.differences
    assert "L = " in description.formula
    assert re.search(r"(19|20)\d\d", description.paper), "the paper's year"


@pytest.mark.parametrize("name", METHODS.names())
def test_formulas_have_teacher_and_student_as_superscripts(name: str) -> None:
    """Subscripts are indices; T is the temperature."""
    assert not re.search(r"_\{?[st]\b|\^\{?T\b|\\tau\b", describe(name).formula)


@pytest.mark.parametrize("name", METHODS.names())
def test_hyperparameters_are_the_fields(name: str) -> None:
    cls = METHODS.find(name)
    hyperparameters = describe(name).hyperparameters
    assert [item.name for item in hyperparameters] == [field.name for field in fields(cls)]  # type: ignore[arg-type]
    assert [item.name for item in hyperparameters if "\n" in item.text or "<" in item.type] == []
    assert cls(**{item.name: item.default for item in hyperparameters}) == cls()


@pytest.mark.parametrize("name", METHODS.names())
def test_paper_and_weights_are_the_published_ones(name: str) -> None:
    description, published = describe(name), DEFAULTS.get(name)
    if published is None:
        pytest.skip(f"defaults.json has no {name}")
    assert description.arxiv == (published["arxiv"] or "")
    ce_weight, weight = _weights(published["weights"])
    assert description.published_ce_weight == ce_weight
    assert description.published_weight == weight


def _weights(published: dict[str, Any]) -> tuple[float, float]:
    """The weights of cross-entropy and method, of RepDistiller, else of SimKD's code, else of the method's own."""
    if isinstance(published.get("repdistiller"), dict):
        weights = published["repdistiller"]
        return weights["r"], weights["b"] or weights["a"]
    if "simkd_repo" in published:
        return published["simkd_repo"]["c"], published["simkd_repo"]["b"]
    homes = ("mdistiller", "mdistiller_default", "classification", "cls_kd")
    weights = next((published[home] for home in homes if home in published), published)
    return weights["ce"], next((value for name, value in weights.items() if name != "ce"), 1)


def test_the_description_of_kd() -> None:
    description = describe("kd")
    assert description.title == "Knowledge distillation"
    assert description.arxiv == "1503.02531"
    assert description.kind == "response"
    (temperature,) = description.hyperparameters
    assert (temperature.name, temperature.type, temperature.default) == ("temperature", "float", 4.0)


def test_the_type_of_a_literal_is_its_choices() -> None:
    (mode,) = [item for item in describe("crd").hyperparameters if item.name == "mode"]
    assert mode.type == "exact | relax"


@dataclass(frozen=True)
class Plain(KD):
    extra: int | None = None


def test_a_method_without_a_description_is_described_by_its_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "__doc__", None)
    description = describe(f"{__name__}:Plain")
    assert description.title == "Plain"
    assert description.formula == ""
    assert [(item.name, item.type) for item in description.hyperparameters] == [
        ("temperature", "float"),
        ("extra", "int | None"),
    ]
