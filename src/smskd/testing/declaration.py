"""The declaration of a term: hyper-parameters, kind, weights, description, reads."""

import dataclasses
import inspect
import sys
from collections.abc import Sequence
from typing import get_args

from smskd.errors import UserError
from smskd.interfaces.features import LOGITS, FeatureLayout, Tap
from smskd.interfaces.terms import Anchor, Kind, Method, Term
from smskd.methods._describe import describe_term
from smskd.testing.expect import require
from smskd.testing.inputs import NARROW, WIDE
from smskd.testing.suite import name_of

_TEXTS = ("title", "summary", "paper", "formula", "reads", "shapes", "source")


def frozen_dataclass(term: Term) -> None:
    """It is a frozen dataclass with a default for every field, equal to another one with the same values."""
    cls = type(term)
    parameters = vars(cls).get("__dataclass_params__")
    require(parameters is not None, f"{cls.__name__} is not a dataclass; put @dataclass(frozen=True) above it")
    require(bool(parameters.frozen), f"{cls.__name__} is not frozen; write @dataclass(frozen=True)")  # type: ignore[union-attr]
    fields = dataclasses.fields(term)  # type: ignore[arg-type]
    missing = [
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    require(not missing, f"without a default: {', '.join(missing)}")
    require(cls() == cls(), "two objects with the same hyper-parameters are not equal")


def description(term: Term) -> None:
    """Its module docstring has title, paper, formula, reads, shapes and source; every hyper-parameter is described."""
    cls = type(term)
    about = describe_term(cls, name_of(term))
    document = inspect.getdoc(sys.modules[cls.__module__]) or ""
    missing = [text for text in _TEXTS if not getattr(about, text)]
    if not document.startswith(about.title):
        missing.insert(0, "title")
    require(not missing, f"the docstrings of {cls.__module__} and {cls.__name__} lack: {', '.join(missing)}")
    require("=" in about.formula, f"the formula is not an equation: {about.formula}")
    undescribed = [item.name for item in about.hyperparameters if not item.text]
    require(not undescribed, f"Attributes of {cls.__name__} does not describe: {', '.join(undescribed)}")


def kind_and_weights(method: Method) -> None:
    """It declares its kind and the weights of the published experiments."""
    for name in ("kind", "published_weight"):
        require(hasattr(method, name), f"it declares no {name}")
    require(method.kind in get_args(Kind), f"kind is {method.kind!r}; choose from {', '.join(get_args(Kind))}")
    require(method.published_weight > 0, f"published_weight is {method.published_weight}; it must be positive")
    require(
        method.published_ce_weight >= 0,
        f"published_ce_weight is {method.published_ce_weight}; it must be 0 or more",
    )


def weight(anchor: Anchor) -> None:
    """Its field ``weight`` is positive by default, and can be set."""
    names = [field.name for field in dataclasses.fields(anchor)]  # type: ignore[arg-type]
    require("weight" in names, "it has no field weight")
    require(anchor.weight > 0, f"weight is {anchor.weight}; it must be positive")
    doubled = dataclasses.replace(anchor, weight=2 * anchor.weight)  # type: ignore[type-var]
    require(doubled.weight == 2 * anchor.weight, "weight cannot be set")


def reads_of_method(method: Method) -> None:
    """It reads something of student and teacher, and only what they offer."""
    teacher = WIDE
    try:
        reads = method.reads(NARROW, WIDE)
    except UserError:
        teacher = NARROW
        reads = method.reads(NARROW, NARROW)
    for role, taps, layout in (("student", reads.student, NARROW), ("teacher", reads.teacher, teacher)):
        require(bool(taps), f"it reads nothing of the {role}")
        _require_offered(role, taps, layout)


def reads_of_anchor(anchor: Anchor) -> None:
    """It reads the reference or the weights, and only what the models offer."""
    reads = anchor.reads(NARROW, WIDE)
    require(bool(reads.reference) or reads.weights, "it reads neither the reference nor the weights")
    for role, taps, layout in (
        ("student", reads.student, NARROW),
        ("teacher", reads.teacher, WIDE),
        ("reference", reads.reference, NARROW),
    ):
        _require_offered(role, taps, layout)


def resolve(anchor: Anchor) -> None:
    """``resolve`` gives an anchor of the same class; resolved once, it does not change any more."""
    for kind in get_args(Kind):
        resolved = anchor.resolve({kind})
        require(type(resolved) is type(anchor), f"resolve gives another class: {type(resolved).__name__}")
        for other in get_args(Kind):
            require(resolved.resolve({other}) == resolved, f"resolved for {kind}, it is changed by resolve({other})")


def _require_offered(role: str, taps: Sequence[Tap], layout: FeatureLayout) -> None:
    unknown = [str(tap) for tap in taps if tap.feature != LOGITS and tap.feature not in layout.features]
    require(not unknown, f"the {role} has no {', '.join(unknown)}")
