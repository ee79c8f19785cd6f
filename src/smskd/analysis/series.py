"""Rows of a comparison that differ in one number, in their order of methods, or in their number of stages."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from smskd.analysis.compare import Row

_FOLLOWS = ("fingerprints.", "semantics", "methods")
"""Beginnings of keys whose values follow from others."""

_MISSING = object()

Group = tuple[str, str | None, str]
"""Student, teacher and data."""


@dataclass(frozen=True)
class Axis:
    """A numeric key of the recipe in which rows differ, all else being equal.

    Attributes:
        key: of the recipe, as in the identity of a run: ``stages.1.anchor.weight``.
        series: rows that differ in this key alone, in ascending order of its value, by the name of the series: the
            values of the other keys that vary; empty where there is one series.
    """

    key: str
    series: Mapping[str, tuple[tuple[float, Row], ...]]


@dataclass(frozen=True)
class Follower:
    """The runs in which one method comes directly after another.

    Attributes:
        first, then: methods of two consecutive stages; those of one stage are joined: ``fitnet + kd``.
        top1: test accuracy of the last epoch in percent, mean over the runs.
        runs: how many they are, over all seeds.
    """

    first: str
    then: str
    top1: float
    runs: int


def group_of(row: Row) -> Group:
    """What rows must have in common before their accuracies are averaged or joined by a line."""
    return row.student, row.teacher, row.data


def groups(rows: Sequence[Row]) -> dict[Group, list[Row]]:
    """The rows by student, teacher and data, in their order."""
    found: dict[Group, list[Row]] = {}
    for row in rows:
        found.setdefault(group_of(row), []).append(row)
    return found


def axes(rows: Sequence[Row]) -> list[Axis]:
    """The numeric keys along which the rows form series of at least three values.

    Of several keys that always change together the first is taken. A key that changes together with something that is
    no number, such as the weight of one method with that of another, is none.

    Args:
        rows: of one student, teacher and data set.
    """
    keys = _differing(rows)
    found: list[Axis] = []
    taken: list[tuple[float | None, ...]] = []
    for key in keys:
        values = tuple(_number(row.facts.get(key)) for row in rows)
        if len(set(values) - {None}) < 3:
            continue
        if any(_one_to_one(values, known) for known in taken):
            continue
        series = _series(key, keys, rows)
        if series:
            taken.append(values)
            found.append(Axis(key, series))
    return found


def followers(rows: Sequence[Row]) -> list[Follower]:
    """Each pair of consecutive stages' methods, with the accuracy of the runs that have it.

    A run with several stages counts in several pairs, and in each of them once.

    Args:
        rows: of one student, teacher and data set.
    """
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        names = stage_names(row)
        for pair in dict.fromkeys(pairwise(names)):
            found.setdefault(pair, []).extend(row.top1_last.values)
    return [Follower(first, then, fmean(values), len(values)) for (first, then), values in found.items()]


def has_orders(rows: Sequence[Row]) -> bool:
    """Whether the rows are several orders of methods: at least two of these are followed by different ones."""
    found = followers(rows)
    thens = {each.first: {other.then for other in found if other.first == each.first} for each in found}
    return sum(len(names) > 1 for names in thens.values()) > 1


def stage_names(row: Row) -> list[str]:
    """The methods of each stage, those of one stage joined: ``at + sp``; ``plain`` without any."""
    return [" + ".join(stage["methods"]) or "plain" for stage in row.runs[0].stages]


def _differing(rows: Sequence[Row]) -> list[str]:
    keys = dict.fromkeys(key for row in rows for key in row.facts if not key.startswith(_FOLLOWS))
    return [key for key in keys if len({_exact(row.facts.get(key, _MISSING)) for row in rows}) > 1]


def _series(key: str, keys: Sequence[str], rows: Sequence[Row]) -> dict[str, tuple[tuple[float, Row], ...]]:
    """The series along a key; none unless one has three values, and only numbers change within each."""
    others = [other for other in keys if other != key and not _determines(key, other, rows)]
    grouped: dict[str, list[tuple[float, Row]]] = {}
    for row in rows:
        value = _number(row.facts.get(key))
        if value is not None:
            grouped.setdefault(_exact([_plain(row.facts.get(other)) for other in others]), []).append((value, row))
    kept = [sorted(points, key=lambda point: point[0]) for points in grouped.values()]
    kept = [points for points in kept if len(points) > 2 and len({value for value, _ in points}) == len(points)]
    if not kept or any(_changes_in_kind(key, keys, points) for points in kept):
        return {}
    names = _names([points[0][1] for points in kept], others)
    return {name: tuple(points) for name, points in zip(names, kept, strict=True)}


def _names(rows: Sequence[Row], others: Sequence[str]) -> list[str]:
    """A name for each series: its methods, or the values of the keys that vary between the series."""
    if len(rows) == 1:
        return [""]
    methods = [" → ".join(stage_names(row)) for row in rows]
    if len(set(methods)) == len(rows):
        return methods
    varying = [key for key in others if len({_exact(row.facts.get(key, _MISSING)) for row in rows}) > 1]
    found = [", ".join(f"{key}={_text(row.facts.get(key, _MISSING))}" for key in varying) for row in rows]
    return [f"{method}, {name}" if len(set(methods)) > 1 else name for method, name in zip(methods, found, strict=True)]


def _changes_in_kind(key: str, keys: Sequence[str], points: Sequence[tuple[float, Row]]) -> bool:
    """Whether something changes along a series that is no number."""
    for other in keys:
        values = [row.facts.get(other, _MISSING) for _, row in points]
        if other != key and len({_exact(value) for value in values}) > 1 and not all(map(_numeric, values)):
            return True
    return False


def _determines(key: str, other: str, rows: Sequence[Row]) -> bool:
    """Whether equal values of a key come with equal values of the other."""
    seen: dict[str, str] = {}
    return all(
        seen.setdefault(_exact(row.facts.get(key, _MISSING)), own := _exact(row.facts.get(other, _MISSING))) == own
        for row in rows
    )


def _one_to_one(first: Sequence[Any], second: Sequence[Any]) -> bool:
    pairs = set(zip(first, second, strict=True))
    return len(pairs) == len(set(first)) == len(set(second))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _numeric(value: Any) -> bool:
    return all(map(_numeric, value)) if isinstance(value, list) else _number(value) is not None


def _plain(value: Any) -> Any:
    return None if value is _MISSING else value


def _exact(value: Any) -> str:
    return "" if value is _MISSING else json.dumps(value, sort_keys=True)


def _text(value: Any) -> str:
    return "–" if value is _MISSING else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
