"""Checks the names in a recipe without importing what they stand for."""

from collections.abc import Iterator
from typing import Any

from smskd.config.base import ComponentConfig
from smskd.config.given import is_given
from smskd.errors import UserError
from smskd.recipe.recipe import Recipe
from smskd.registry import ANCHORS, DATA, METHODS, MODELS, STRATEGIES, Registry


def check_names(recipe: Recipe) -> None:
    """Checks that every method, anchor, strategy, model and data source is one of the known names or a path.

    Raises:
        UserError: one is neither; nothing has been imported.
    """
    for where, registry, name in _names(recipe):
        if is_given(name):
            continue
        try:
            registry.check_name(name)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None


def _names(recipe: Recipe) -> Iterator[tuple[str, Registry, str]]:
    stages = recipe.stages or ()
    for place, stage in enumerate(stages):
        yield from _components(f"stages.{place}.methods", METHODS, stage.methods)
    yield from _components("methods", METHODS, recipe.methods or ())
    anchors = [("anchor", recipe.anchor)]
    anchors += [
        (f"stages.{place}.anchor", stage.anchor) for place, stage in enumerate(stages) if not stage.inherits_anchor
    ]
    for where, anchor in anchors:
        if isinstance(anchor, ComponentConfig):
            yield where, ANCHORS, anchor.name
    if isinstance(recipe.strategy, ComponentConfig):
        yield "strategy", STRATEGIES, recipe.strategy.name
    yield "student", MODELS, recipe.student.name
    teachers = [
        ("teacher", recipe.teacher),
        *((f"stages.{at}.teacher", stage.teacher) for at, stage in enumerate(stages)),
    ]
    for where, teacher in teachers:
        if teacher is not None:
            yield where, MODELS, teacher.name
            yield from ((f"{where}.others.{at}", MODELS, other.name) for at, other in enumerate(teacher.others))
    yield "data.source", DATA, recipe.data.source.name
    validation = recipe.data.validation
    if validation is not None and validation.source is not None:
        yield "data.validation.source", DATA, validation.source.name


def _components(where: str, registry: Registry, components: tuple[Any, ...]) -> Iterator[tuple[str, Registry, str]]:
    for place, component in enumerate(components):
        if isinstance(component, ComponentConfig):
            yield f"{where}.{place}", registry, component.name
