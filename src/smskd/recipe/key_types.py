"""The types of a recipe's keys, from the dataclasses of its settings."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from smskd.recipe.recipe import Recipe


def keys_at(location: Sequence[int | str]) -> list[str] | None:
    """The keys of the settings at a location, given as keys and indices; None where there are no settings."""
    found = _settings_at(location)
    return None if found is None else [field.name for field in fields(found)]


def takes_text(keys: Sequence[str]) -> bool:
    """Whether a key takes nothing but a text, or null where :func:`takes_null`."""
    hint = _hint_at(keys)
    return hint is not None and all(_is_text(option) for option in _options(hint) if option is not NoneType)


def takes_null(keys: Sequence[str]) -> bool:
    """Whether a key takes null."""
    return NoneType in _options(_hint_at(keys))


def _hint_at(keys: Sequence[str]) -> Any:
    """The type of a key; None for unknown keys, and for options of components, whose types are their own."""
    settings = _settings_at(keys[:-1])
    return None if settings is None else get_type_hints(settings).get(keys[-1])


def _settings_at(location: Sequence[int | str]) -> type[Any] | None:
    here: type[Any] | None = Recipe
    for part in location:
        if isinstance(part, int) or part.isdecimal():
            continue
        here = None if here is None else _settings_in(get_type_hints(here).get(part))
    return here


def _settings_in(hint: Any) -> type[Any] | None:
    """The dataclass of settings in a type hint such as ``tuple[StageConfig, ...] | None``."""
    if isinstance(hint, type) and is_dataclass(hint):
        return hint
    return next((found for part in get_args(hint) if (found := _settings_in(part)) is not None), None)


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _is_text(hint: Any) -> bool:
    return hint is str or (get_origin(hint) is Literal and all(isinstance(value, str) for value in get_args(hint)))
