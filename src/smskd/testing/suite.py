"""Running checks: seeded, with failures that name the term and the check."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import TypeVar

import torch

from smskd.interfaces.terms import Anchor, Method, Term
from smskd.registry import ANCHORS, METHODS

T = TypeVar("T", Method, Anchor)


def name_of(term: Term | type[Term]) -> str:
    """The name under which a method or an anchor, or its class, is found."""
    cls = term if isinstance(term, type) else type(term)
    return (ANCHORS if issubclass(cls, Anchor) else METHODS).name_of(cls)


def suite(checks: Mapping[str, Callable[[T], None]]) -> dict[str, Callable[[T], None]]:
    """The checks, each seeded; any exception becomes an AssertionError with the names of the term and the check."""
    return {name: _named(name, check) for name, check in checks.items()}


def run_all(checks: Mapping[str, Callable[[T], None]], term: type[T] | T) -> None:
    """Runs all checks on a term, or on a class with its defaults.

    Raises:
        AssertionError: a line for each failed check.
    """
    made = _made(term)
    failures: list[AssertionError] = []
    for check in checks.values():
        try:
            check(made)
        except AssertionError as error:
            failures.append(error)
    if failures:
        raise AssertionError("\n".join(map(str, failures))) from failures[0]


def _made(term: type[T] | T) -> T:
    if not isinstance(term, type):
        return term
    try:
        return term()
    except TypeError as error:
        raise AssertionError(f"{name_of(term)}: it cannot be built from its defaults alone: {error}") from error


def _named(name: str, check: Callable[[T], None]) -> Callable[[T], None]:
    @wraps(check)
    def run(term: T) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            try:
                check(term)
            except AssertionError as error:
                reason, cause = str(error), error.__cause__
            except Exception as error:
                reason, cause = f"{type(error).__name__}: {error}", error
            else:
                return
        raise AssertionError(f"{name_of(term)}: {name}: {reason}") from cause

    return run
