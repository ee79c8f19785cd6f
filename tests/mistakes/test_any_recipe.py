"""Whatever a recipe says: it resolves, or one line says what is wrong with which key."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import smskd
from smskd.config.optimization import ScheduleConfig
from smskd.errors import UserError
from smskd.recipe import Recipe, overridden, parse, to_yaml
from smskd.recipe.names import check_names
from smskd.recipe.yaml_text import load_yaml
from smskd.strategies.resolve import resolve
from smskd.strategies.resolved import ResolvedRecipe
from tests.support.recipe_mappings import ODD, TEXTS, recipes

BOUNDED = settings(
    max_examples=150, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


def resolved(raw: dict[str, Any]) -> ResolvedRecipe | str:
    """The run, or the line."""
    try:
        recipe = parse(raw, "r.yaml")
        check_names(recipe)
        return resolve(recipe)
    except UserError as error:
        return str(error)


def check_line(line: str) -> None:
    assert "\n" not in line
    assert "\x1b" not in line
    assert 10 < len(line) < 2500
    assert ":" in line, "no path of a key"
    assert not any(word in line for word in ("Input should", "pydantic", "Traceback", "Value error"))


@BOUNDED
@given(recipes())
def test_any_mapping(raw: dict[str, Any]) -> None:
    found = resolved(raw)
    if isinstance(found, str):
        check_line(found)
        return
    mapping = found.as_mapping()
    again = load_yaml(to_yaml(mapping), "again")
    assert resolve(parse(again)).as_mapping() == mapping


@BOUNDED
@given(recipes())
def test_any_file(raw: dict[str, Any]) -> None:
    """What YAML makes of the mapping; texts that it does not hold give a line too."""
    try:
        read = load_yaml(to_yaml(raw), "r.yaml")
    except UserError as error:
        check_line(str(error))
        return
    found = resolved(read)
    if isinstance(found, str):
        check_line(found)


@BOUNDED
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    try:
        value = load_yaml(text, "r.yaml")
    except UserError as error:
        check_line(str(error))
        return
    if isinstance(value, dict):
        found = resolved(value)
        if isinstance(found, str):
            check_line(found)


KEYS = ("name", "training.epochs", "methods", "methods.0.temperature", "stages.0.epochs", "teacher.weights", "a.b", "")


@BOUNDED
@given(st.sampled_from(KEYS), st.one_of(TEXTS, st.text(max_size=20), ODD.map(str)))
def test_any_override(key: str, value: str) -> None:
    raw = {"data": "digits", "student": "resnet8_w2", "methods": "kd", "teacher": {"name": "resnet8"}}
    try:
        changed = overridden(raw, [f"{key}={value}"])
    except UserError as error:
        check_line(f"override: {error}")  # the override itself, in quotes, is its path
        return
    found = resolved(changed)
    if isinstance(found, str):
        check_line(found)


TRAINED = 3


def test_some_of_those_that_resolve_train(tmp_path: Path) -> None:
    """A step of them, cut to one epoch of one batch."""
    small: list[Recipe] = []

    @BOUNDED
    @given(recipes())
    def collect(raw: dict[str, Any]) -> None:
        if len(small) < TRAINED and not isinstance(resolved(raw), str):
            recipe = parse(raw)
            if recipe.data.source.name == "digits" and recipe.stages is None and recipe not in small:
                small.append(recipe)

    collect()
    assert len(small) == TRAINED
    for number, recipe in enumerate(small):
        training = replace(recipe.training, epochs=1, batch_size=min(recipe.training.batch_size, 16))
        subset = replace(recipe.data.subset, train=32, test=16)
        cut = replace(
            recipe,
            training=training,
            data=replace(recipe.data, subset=subset),
            schedule=ScheduleConfig(name="constant"),
            runtime=replace(recipe.runtime, device="cpu"),
        )
        try:
            smskd.train(cut, out=tmp_path / str(number))
        except UserError as error:
            check_line(str(error))


def test_the_lines_are_checked() -> None:
    with pytest.raises(AssertionError):
        check_line("no\nline: at all")
