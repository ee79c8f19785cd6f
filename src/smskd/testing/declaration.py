"""What a method says of itself: hyper-parameters, kind, weights, description, taps."""

import dataclasses
import inspect
import sys
from typing import get_args

from smskd.errors import UserError
from smskd.interfaces.features import LOGITS, PREACTIVATION, FeatureLayout
from smskd.interfaces.terms import Kind, Method
from smskd.methods._describe import describe_class
from smskd.registry import METHODS
from smskd.testing.expect import require
from smskd.testing.inputs import NARROW, WIDE

_TEXTS = ("title", "summary", "paper", "formula", "shapes", "source")


def frozen_dataclass(method: Method) -> None:
    """It is a frozen dataclass with a default for every field, and equal to one of the same values."""
    cls = type(method)
    parameters = vars(cls).get("__dataclass_params__")
    require(parameters is not None, f"{cls.__name__} is no dataclass; put @dataclass(frozen=True) above it")
    require(bool(parameters.frozen), f"{cls.__name__} is not frozen; write @dataclass(frozen=True)")  # type: ignore[union-attr]
    fields = dataclasses.fields(method)  # type: ignore[arg-type]
    missing = [
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    require(not missing, f"without a default: {', '.join(missing)}")
    require(cls() == cls(), "two methods of the same hyper-parameters are not equal")


def kind_and_weights(method: Method) -> None:
    """It says what it compares, and the weights of the published experiments."""
    for name in ("kind", "published_weight"):
        require(hasattr(method, name), f"it says no {name}")
    require(method.kind in get_args(Kind), f"kind is {method.kind!r}; choose from {', '.join(get_args(Kind))}")
    require(method.published_weight > 0, f"published_weight is {method.published_weight}; it must be positive")
    require(
        method.published_ce_weight >= 0,
        f"published_ce_weight is {method.published_ce_weight}; it must be 0 or more",
    )


def description(method: Method) -> None:
    """Its file begins with title, paper, formula, shapes and source; its class explains every hyper-parameter."""
    cls = type(method)
    about = describe_class(cls, METHODS.name_of(cls))
    document = inspect.getdoc(sys.modules[cls.__module__]) or ""
    missing = [text for text in _TEXTS if not getattr(about, text)]
    if not document.startswith(about.title):
        missing.insert(0, "title")
    require(not missing, f"the docstrings of {cls.__module__} and {cls.__name__} lack: {', '.join(missing)}")
    require("=" in about.formula, f"the formula states nothing: {about.formula}")
    unexplained = [item.name for item in about.hyperparameters if not item.text]
    require(not unexplained, f"Attributes of {cls.__name__} does not explain: {', '.join(unexplained)}")


def taps(method: Method) -> None:
    """It reads something of both models, and only what they have."""
    other = WIDE
    try:
        chosen = method.taps(NARROW, WIDE)
    except UserError:
        other = NARROW
        chosen = method.taps(NARROW, NARROW)
    for side, names, layout in (("student", chosen.student, NARROW), ("teacher", chosen.teacher, other)):
        require(bool(names), f"it reads nothing of the {side}")
        unknown = [name for name in names if not _offered(name, layout)]
        require(not unknown, f"the {side} has no {', '.join(unknown)}")


def _offered(name: str, layout: FeatureLayout) -> bool:
    base = name.partition("@")[0].removesuffix(PREACTIVATION)
    return base == LOGITS or base in layout.features
