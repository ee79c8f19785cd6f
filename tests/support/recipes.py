"""Recipes of which nothing is trained, and their stages."""

from collections.abc import Sequence
from typing import Any

from smskd.recipe import Recipe, parse
from smskd.strategies.resolve import resolve
from smskd.strategies.resolved import ResolvedStage


def recipe(**keys: Any) -> Recipe:
    """A recipe for digits; its data have no validation split unless ``data`` is among the keys."""
    networks = {"teacher": "resnet14", "student": "resnet8_w2"}
    return parse({"data": {"source": "digits"}, **networks, **keys})


def stages_of(given: Recipe) -> tuple[ResolvedStage, ...]:
    """The resolved stages."""
    return resolve(given).stages


def spans(stages: Sequence[ResolvedStage]) -> list[tuple[int, int]]:
    """First and last epoch of each stage."""
    return [(stage.first, stage.last) for stage in stages]
