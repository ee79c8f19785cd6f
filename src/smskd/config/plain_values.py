"""Values that settings may consist of: texts without control characters, numbers that fit, shallow collections."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from smskd.config.messages import shortened, shown
from smskd.errors import printable

DEEPEST = 50
"""Levels of mappings and lists within each other."""

BITS = 64
"""Of a whole number, with its sign."""

_WRONG = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Control characters other than tab and end of line, and code points that are no characters."""


@dataclass(frozen=True)
class Problem:
    """The path of a value, and what is wrong with it."""

    path: str
    reason: str


def problem_in(value: Any, path: str) -> Problem | None:
    """The first thing in a value, or in the values within it, that no setting can hold.

    Args:
        value: of a setting; Python objects other than texts, whole numbers, lists and mappings are not looked into.
        path: of the value.
    """
    return next(_problems(value, path, 0), None)


def _problems(value: Any, path: str, depth: int) -> Iterator[Problem]:
    if isinstance(value, str) and (wrong := _WRONG.search(value)):
        yield Problem(path, f"contains the control character {printable(wrong[0])}")
    elif isinstance(value, int) and value.bit_length() >= BITS:
        yield Problem(path, f"is a number of more than {BITS} bits")
    elif isinstance(value, Mapping | list | tuple):
        if depth == DEEPEST:
            yield Problem(path, f"has more than {DEEPEST} levels of lists and mappings")
            return
        if isinstance(value, Mapping):
            yield from _problems_of_keys(value, path)
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _problems(item, f"{path}.{key}", depth + 1)


def _problems_of_keys(value: Mapping[Any, Any], path: str) -> Iterator[Problem]:
    for key in value:
        if not isinstance(key, str):
            yield Problem(path, f"the key {shown(key)} must be a text")
            return
        yield from _problems(key, f"{path}.{shortened(key)}", 0)
