"""Methods by name, as objects or with weights, made into weighted terms with unique names."""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import replace

from smskd.errors import UserError
from smskd.interfaces.terms import Method, WeightedMethod
from smskd.registry import METHODS

_OWN_PARTS = {"total", "ce", "anchor"}
"""Names of parts of the loss that no method may take."""


def weighted(methods: Sequence[str | Method | WeightedMethod]) -> tuple[WeightedMethod, ...]:
    """Methods given by name, as objects, or with weights already; the weight is the published one by default.

    Raises:
        UserError: no method of this name.
    """
    result: list[WeightedMethod] = []
    for item in methods:
        if isinstance(item, str):
            item = METHODS.find(item)()
        if isinstance(item, Method):
            _check_declared(item)
            item = WeightedMethod(label(METHODS.name_of(item)), item, item.published_weight)
        result.append(replace(item, name=_unused(item.name, {other.name for other in result} | _OWN_PARTS)))
    return tuple(result)


def _check_declared(method: Method) -> None:
    for name in ("kind", "published_weight"):
        if not hasattr(method, name):
            raise UserError(f"method {type(method).__name__} declares no {name}; set it as a class attribute")


def label(name: str) -> str:
    """The name of a method's part of the loss: ``kd``; of ``package.module:Name`` the last part in lower case."""
    return name.rpartition(".")[2].rpartition(":")[2].lower() if ":" in name else name


def _unused(name: str, used: Collection[str]) -> str:
    """The name, or the first of ``name-2``, ``name-3``, ... that is not used."""
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(candidate for candidate in itertools.chain([name], numbered) if candidate not in used)


def published_ce_weight(methods: Sequence[WeightedMethod]) -> float:
    """The published weight of the cross-entropy beside a single method; 1 beside none or several."""
    return methods[0].method.published_ce_weight if len(methods) == 1 else 1.0
