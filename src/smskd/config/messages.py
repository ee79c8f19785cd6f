"""Errors of validation in the words of recipes instead of those of pydantic."""

import math
from collections.abc import Mapping
from typing import Any

import yaml

from smskd.errors import printable

LONGEST = 200
"""Characters of a text that a message quotes."""

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


def place_of(details: Mapping[str, Any]) -> str:
    """The path of the key that an entry of ``ValidationError.errors()`` is about."""
    error = details.get("ctx", {}).get("error")
    return ".".join(map(str, [*details["loc"], *filter(None, [getattr(error, "key", "")])]))


def mistake(details: Mapping[str, Any]) -> str:
    """The message for an entry of ``ValidationError.errors()``, without path: ``must be a whole number, not 1.5``."""
    kind, given = details["type"], details.get("input")
    if kind == "missing":
        return "this entry is needed" if isinstance(details["loc"][-1], int) else "this key is needed"
    if kind in ("value_error", "assertion_error"):
        error = details["ctx"]["error"]
        return str(getattr(error, "reason", error))
    if kind == "too_long":
        return f"must have {details['ctx']['max_length']} entries, not {details['ctx']['actual_length']}"
    default = details["msg"].removeprefix("Input should ").removeprefix("be ")
    wanted = _WANTED.get(kind.split("_")[0], default)
    in_quotes = kind == "string_type" and isinstance(given, bool | int | float)
    return f"must be {wanted}, not {shown(given)}" + (f"; write it in quotes: '{shown(given)}'" if in_quotes else "")


def kind_of(value: Any) -> str:
    """The kind of a value of a recipe, ``a list`` or ``empty``; of other objects their class."""
    if value is None:
        return "empty"
    return next((words for kind, words in _KINDS if isinstance(value, kind)), f"an object of {type(value).__name__}")


def shown(value: Any) -> str:
    """A value as it is written in a recipe, shortened; of a list or a mapping only its kind."""
    if isinstance(value, str):
        return f"'{shortened(value)}'"
    if isinstance(value, int) and value.bit_length() > 64:
        return f"a number of about {int(value.bit_length() * math.log10(2)) + 1} digits"
    if value is None or isinstance(value, bool | int | float):
        return str(yaml.safe_dump(value)).partition("\n")[0]
    return kind_of(value)


def shortened(text: str) -> str:
    """The beginning of a long text, without control characters."""
    return printable(text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text):,} characters)")
