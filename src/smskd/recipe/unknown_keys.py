"""The valid keys at a place of a recipe, to suggest one for an unknown key."""

from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any, get_args, get_type_hints

from smskd.errors import nearest
from smskd.recipe.recipe import Recipe


def suggestion(location: tuple[int | str, ...]) -> str:
    """``; did you mean 'decay_at'?`` for the nearest valid key, otherwise the list of valid keys.

    A key at the top level is also compared with those of the groups: ``momentum`` suggests ``optimizer.momentum``.

    Args:
        location: of the unknown key: keys and indices.
    """
    word, group = str(location[-1]), location[:-1]
    valid = _keys_at(group)
    if not group and not get_close_matches(word, valid, n=1):
        grouped = {key: f"{name}.{key}" for name in reversed(valid) for key in _keys_at((name,), default=[])}
        close = get_close_matches(word, grouped, n=1)
        if close:
            return f"; did you mean '{grouped[close[0]]}'?"
    return nearest(word, valid)


def _keys_at(location: tuple[int | str, ...], default: list[str] | None = None) -> list[str]:
    """The keys of the settings at a location; the default where there are none."""
    here: type[Any] = Recipe
    for part in location:
        if isinstance(part, str):
            found = _settings_in(get_type_hints(here).get(part))
            if found is None and default is not None:
                return default
            here = found or here
    return [field.name for field in fields(here)]


def _settings_in(hint: Any) -> type[Any] | None:
    """The dataclass of settings in a type hint such as ``tuple[StageConfig, ...] | None``."""
    if isinstance(hint, type) and is_dataclass(hint):
        return hint
    return next((found for part in get_args(hint) if (found := _settings_in(part)) is not None), None)
