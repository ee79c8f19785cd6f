"""The runs of a sweep: the product of all that varies."""

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smskd.config.sweep import OrdersConfig, SweepConfig
from smskd.errors import UserError, nearest
from smskd.recipe import Recipe
from smskd.sweeps.sweep_file import Sweep

MOST_RUNS = 10_000
"""Of a sweep; more is a slip."""

LONGEST_NAME = 120

_SHARE = re.compile(r"\d+/\d+")
"""Of all epochs."""

_UNUSUAL = re.compile(r"[^\w.,=+-]+")


@dataclass(frozen=True)
class Point:
    """A run of a sweep.

    Attributes:
        name: of all runs that differ in the seed alone.
        seed: of training.
        changes: of the recipe, a value by its key.
    """

    name: str
    seed: int
    changes: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """Within that of the sweep."""
        return Path(self.name) / f"seed{self.seed}"

    def recipe(self, sweep: Sweep) -> Recipe:
        """The recipe of the run.

        Raises:
            UserError: a change is no change of the recipe; the message has the name of the run.
        """
        try:
            return sweep.made({**self.changes, "name": self.name, "runtime.seed": self.seed})
        except UserError as error:
            raise UserError(f"{self.name}: {str(error).removeprefix(f'{sweep.config.name}: ')}") from None


def points(config: SweepConfig) -> list[Point]:
    """The runs, those of one seed together.

    Raises:
        UserError: there are too many, or two are the same.
    """
    axes = [*_axes(config)]
    count = len(config.seeds)
    for axis in axes:
        count *= len(axis)
    if count > MOST_RUNS:
        raise UserError(f"{config.name}: {count:,} runs are more than {MOST_RUNS:,}")
    found = [merged(parts) for parts in itertools.product(*axes)]
    names = [name_of(config.name, changes) for changes in found]
    twice = next((name for name, own in zip(names, found, strict=True) if found.count(own) > 1), None)
    if twice is not None:
        raise UserError(f"{config.name}: the run {twice} is in it twice")
    names = [
        f"{name}-{_digest(own)}" if names.count(name) > 1 else name for name, own in zip(names, found, strict=True)
    ]
    if config.baseline is not None and config.baseline not in names:
        raise UserError(
            f"{config.name}: baseline: no runs are called '{config.baseline}'{nearest(config.baseline, names)}"
        )
    return [Point(name, seed, own) for seed in config.seeds for name, own in zip(names, found, strict=True)]


def merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The changes of several axes together."""
    return {key: value for part in parts for key, value in part.items()}


def sequence(methods: Sequence[str], epochs: Sequence[int] | None) -> dict[str, Any]:
    """The changes of a recipe that give each of these methods a stage.

    Args:
        methods: their names.
        epochs: of each stage; the last number is that of all further ones. None: stages end with learning-rate decays.
    """
    if epochs is None:
        return {"methods": list(methods)}
    own = [epochs[min(place, len(epochs) - 1)] for place in range(len(methods))]
    stages = [{"methods": [name], "epochs": length} for name, length in zip(methods, own, strict=True)]
    return {"stages": stages, "training.epochs": sum(own)}


def name_of(sweep: str, changes: Mapping[str, Any]) -> str:
    """The name of a run: the values of what varies, as the name of a folder."""
    follows = "training.epochs" if "stages" in changes else ""
    words = [_word(key, value) for key, value in changes.items() if key != follows]
    name = _UNUSUAL.sub("-", "_".join(filter(None, words))).strip("-_. ") or sweep
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[:LONGEST_NAME]}-{_digest(changes)}"


def _digest(changes: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(dict(changes)).encode()).hexdigest()[:8]


def _word(key: str, value: Any) -> str:
    if key in ("methods", "stages"):
        stages = value if isinstance(value, list | tuple) else [value]
        return "-".join(map(_text_of_stage, stages)) or "plain"
    return _text(value) if key in ("teacher.name", "student.name") else f"{key}={_text(value)}"


def _text_of_stage(stage: Any) -> str:
    if not isinstance(stage, Mapping) or "methods" not in stage:
        return _text(stage)
    methods = stage["methods"] or ["plain"]
    names = "+".join(map(_text, methods if isinstance(methods, list | tuple) else [methods]))
    rest = {key: value for key, value in stage.items() if key not in ("methods", "epochs")}
    return f"{names},{_text(rest)}" if rest else names


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        rest = ",".join(f"{key}={_text(item)}" for key, item in value.items() if key != "name")
        return ",".join(filter(None, (str(value.get("name", "")), rest)))
    if isinstance(value, list | tuple):
        return "+".join(map(_text, value))
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    is_path = isinstance(value, str) and "/" in value and not _SHARE.fullmatch(value)
    return Path(value).stem if is_path else str(value)


def _axes(config: SweepConfig) -> Iterator[list[dict[str, Any]]]:
    if config.pairs:
        yield [dict(pair) for pair in config.pairs]
    if config.orders is not None:
        yield list(_orders(config.orders))
    for key, values in config.values.items():
        yield [{key: value} for value in values]


def _orders(orders: OrdersConfig) -> Iterator[dict[str, Any]]:
    for count in orders.counts:
        for methods in itertools.permutations(orders.of, count):
            yield sequence(methods, orders.epochs)
