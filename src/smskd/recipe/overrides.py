"""Overrides of single keys: ``key.path=value``."""

from collections.abc import Iterable, Mapping
from typing import Any

from smskd.config.messages import kind_of
from smskd.errors import UserError
from smskd.recipe.shorthands import expanded
from smskd.recipe.yaml_text import load_yaml


def overridden(raw: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of a recipe's mapping in which overrides are set, one after another.

    Args:
        raw: the mapping; it is not changed.
        overrides: ``key.path=value`` each, the value in YAML. A number in a path is an index of a list. ``methods``
            replaces ``stages``, and vice versa.

    Raises:
        UserError: an override is not of this form, or its path does not exist.
    """
    result = expanded(raw)
    for override in overrides:
        path, equals, value = override.partition("=")
        if not equals or not path:
            raise UserError(f"'{override}' is not of the form key.path=value")
        _set(result, path.split("."), load_yaml(value, f"'{override}'"), override)
        result = expanded(result)  # for the next override: methods=fitnet,kd methods.1.temperature=2
    return result


def _set(raw: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    for one, other in (("methods", "stages"), ("stages", "methods")):
        if keys == [one] and value is not None:
            raw.pop(other, None)
    here: Any = raw
    for position, key in enumerate(keys):
        last, path = position == len(keys) - 1, ".".join(keys[:position])
        if isinstance(here, list):
            if not key.isdecimal() or int(key) >= len(here):
                raise UserError(f"'{override}': {path} is a list of {len(here)}, '{key}' is not an index of it")
            slot: Any = int(key)
        elif isinstance(here, dict):
            slot = key
        else:
            raise UserError(f"'{override}': {path} is {kind_of(here)} and has no keys")
        if last:
            here[slot] = value
            return
        if isinstance(here, dict) and here.get(slot) is None:
            if keys[position + 1].isdecimal():
                instead = "; it has methods" if key == "stages" and raw.get("methods") else ""
                raise UserError(f"'{override}': the recipe has no list {'.'.join(keys[: position + 1])}{instead}")
            here[slot] = {}
        here = here[slot]
