"""Errors of validation in the words of recipes instead of those of pydantic."""

from collections.abc import Mapping
from typing import Any

import yaml

_WANTED = {
    "bool": "true or false",
    "dataclass": "a mapping",
    "dict": "a mapping",
    "float": "a number",
    "int": "a whole number",
    "is": "a name, or a mapping with a name",
    "model": "a mapping",
    "string": "a text",
    "tuple": "a list",
}
"""The expected value, by the first word of pydantic's error type: ``int_parsing``; ``is_instance_of`` of components."""

_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "true or false"),
    (int, "a number"),
    (float, "a number"),
    (str, "a text"),
    (list, "a list"),
    (dict, "a mapping"),
)


def mistake(details: Mapping[str, Any]) -> str:
    """The message for an entry of ``ValidationError.errors()``, without path: ``must be a whole number, not 1.5``."""
    kind, given = details["type"], details.get("input")
    if kind == "missing":
        return "this entry is needed" if isinstance(details["loc"][-1], int) else "this key is needed"
    if kind == "too_long":
        return f"must have {details['ctx']['max_length']} entries, not {details['ctx']['actual_length']}"
    default = details["msg"].removeprefix("Input should ").removeprefix("be ")
    wanted = _WANTED.get(kind.split("_")[0], default)
    in_quotes = kind == "string_type" and isinstance(given, bool | int | float)
    return f"must be {wanted}, not {shown(given)}" + (f"; write it in quotes: '{shown(given)}'" if in_quotes else "")


def kind_of(value: Any) -> str:
    """The kind of a value of a recipe: ``a list``, ``empty``."""
    return next((words for kind, words in _KINDS if isinstance(value, kind)), "empty")


def shown(value: Any) -> str:
    """A value as it is written in a recipe; of a list or a mapping only its kind."""
    if isinstance(value, str):
        return f"'{value}'"
    if value is None or isinstance(value, bool | int | float):
        return str(yaml.safe_dump(value)).partition("\n")[0]
    return kind_of(value)
