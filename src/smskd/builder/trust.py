"""The names in recipes that others have written: none of them is imported unless the user says so."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from smskd.config.base import ComponentConfig
from smskd.config.data import DataConfig
from smskd.config.given import is_given
from smskd.config.models import ModelConfig
from smskd.config.stage import INHERIT
from smskd.errors import UserError
from smskd.recipe import Recipe
from smskd.registry import ANCHORS, DATA, METHODS, MODELS, STRATEGIES, Registry

Named = tuple[tuple[Registry, ...], str]

_NAMING = frozenset({"name", "method"})
_SEPARATORS = re.compile(r"[\s,\[\]{}'\"]+")


def check_names(recipe: Recipe, source: str, said: Iterable[str] = ()) -> None:
    """Refuses a recipe that names anything but what comes with the package.

    Args:
        recipe: whose names nothing has looked up yet.
        source: its file, for the message.
        said: the changes that the user has made to it, ``key.path=value``, whose names are the user's own.

    Raises:
        UserError: the first such name.
    """
    found = foreign_name(recipe, said)
    if found is not None:
        raise UserError(
            f"{source} names the {found}, which does not come with smskd: using it would import it, and it could do "
            "anything; if you trust the folder, add --trust"
        )


def is_builtin_source(data: DataConfig) -> bool:
    """Whether the data sources of a recipe, that of its validation split too, come with the package."""
    sources = [data.source, data.validation.source if data.validation else None]
    return all(source.name in DATA.builtin_names() for source in sources if source is not None)


def foreign_name(recipe: Recipe, said: Iterable[str] = ()) -> str | None:
    """The first name in a recipe that does not come with the package, with its kind; None where there is none."""
    own = {word for override in said for word in _SEPARATORS.split(override.partition("=")[2])}
    for registries, name in _names(recipe):
        builtin = any(name in registry.builtin_names() for registry in registries)
        if not (builtin or is_given(name) or name in own):
            return f"{registries[0].noun} '{name}'"
    return None


def _names(recipe: Recipe) -> Iterator[Named]:
    """Every name in a recipe that would be imported, with its kind."""
    yield from _models(recipe)
    sources = [recipe.data.source, recipe.data.validation.source if recipe.data.validation else None]
    yield from (((DATA,), source.name) for source in sources if source is not None)
    yield from (((STRATEGIES,), name) for name in _components(recipe.strategy))
    stages = recipe.stages or ()
    methods, anchors = (recipe.methods, *(stage.methods for stage in stages)), (stage.anchor for stage in stages)
    yield from (((METHODS, ANCHORS), name) for name in _components(methods))
    yield from (((ANCHORS, METHODS), name) for name in _components((recipe.anchor, *anchors)) if name != INHERIT)


def _models(value: Any) -> Iterator[Named]:
    """The models, wherever they stand."""
    if isinstance(value, ModelConfig):
        yield (MODELS,), value.name
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _models(item)
    elif is_dataclass(value) and not isinstance(value, ComponentConfig):
        for own in fields(value):
            yield from _models(getattr(value, own.name))


def _components(value: Any) -> Iterator[str]:
    """The names of components, and of those in their options, such as the method of an anchor."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, ComponentConfig):
        yield value.name
        yield from _nested(value.options)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _components(item)


def _nested(value: Any) -> Iterator[str]:
    """Names among the options of a component: those of a method, and whatever could be a path to an object."""
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, str) and (key in _NAMING or ":" in item):
                yield item
            else:
                yield from _nested(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _nested(item)
