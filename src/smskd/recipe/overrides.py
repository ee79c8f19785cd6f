"""Overrides of single keys: ``key.path=value``."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from smskd.config.messages import kind_of, shortened
from smskd.config.plain_values import DEEPEST
from smskd.errors import UserError
from smskd.recipe.key_types import takes_null, takes_text
from smskd.recipe.shorthands import expanded
from smskd.recipe.yaml_text import load_yaml

_HASH = re.compile(r"(?:^|\s)#")
_IN_QUOTES = re.compile(r"""'.*'|".*\"""", re.DOTALL)
_NULL = ("~", "null")


def overridden(raw: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of a recipe's mapping in which overrides are set, one after another.

    Args:
        raw: the mapping; it is not changed.
        overrides: ``key.path=value`` each. A key whose value is a text takes everything behind the first ``=`` as it
            is, without quotes around it; where it may be null, ``null`` stands for that. Any other value is YAML,
            without comments: a ``#`` belongs to the value. A number in a path is an index of a list. ``methods``
            replaces ``stages``, and vice versa.

    Raises:
        UserError: an override is not of this form, or its path does not exist.
    """
    result = expanded(raw)
    for override in overrides:
        name, equals, text = override.partition("=")
        keys = name.split(".")
        if not equals or not all(keys) or len(keys) > DEEPEST:
            raise UserError(f"'{shortened(override)}' is not of the form key.path=value")
        if not text.strip():
            raise UserError(f"'{override}' has no value; null stands for none")
        if keys == ["base"]:
            raise UserError(f"'{shortened(override)}': base is a key of files; give the recipe of the base instead")
        _set(result, keys, _value(text, keys, override), f"'{shortened(override)}'")
        result = expanded(result)  # for the next override: methods=fitnet,kd methods.1.temperature=2
    return result


def _value(text: str, keys: Sequence[str], override: str) -> Any:
    if _IN_QUOTES.fullmatch(text):
        return load_yaml(text, f"'{shortened(override)}'")
    if takes_text(keys):
        return None if takes_null(keys) and text in _NULL else text
    value = load_yaml(text, f"'{shortened(override)}'")
    return value if isinstance(value, list | dict) or not _HASH.search(text) else text


def _set(raw: dict[str, Any], keys: Sequence[str], value: Any, override: str) -> None:
    for one, other in (("methods", "stages"), ("stages", "methods")):
        if keys == [one] and value is not None:
            raw.pop(other, None)
    here: Any = raw
    for position, key in enumerate(keys):
        last, path = position == len(keys) - 1, ".".join(keys[:position])
        if isinstance(here, list):
            slot: Any = _index(key, here)
            if slot is None:
                raise UserError(f"{override}: {path} is a list of {len(here)}, '{key}' is not an index of it")
        elif isinstance(here, dict):
            slot = key
        else:
            raise UserError(f"{override}: {path} is {kind_of(here)} and has no keys")
        if last:
            here[slot] = value
            return
        if isinstance(here, dict) and here.get(slot) is None:
            if keys[position + 1].isdecimal():
                instead = "; it has methods" if key == "stages" and raw.get("methods") else ""
                raise UserError(f"{override}: the recipe has no list {'.'.join(keys[: position + 1])}{instead}")
            here[slot] = {}
        here = here[slot]


def _index(key: str, items: Sequence[Any]) -> int | None:
    """The index that a key is of a list, or None."""
    is_index = key.isdecimal() and len(key) <= len(str(len(items))) and int(key) < len(items)
    return int(key) if is_index else None
