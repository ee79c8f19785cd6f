"""Conformance checks of methods and anchors: of the built-in ones and of your own.

In a test of your method::

    from smskd.testing import check_method

    def test_conformance() -> None:
        check_method(MyMethod)

or one test for each check: ``@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())``. For an anchor
there are :func:`check_anchor` and :data:`ANCHOR_CHECKS`. The checks do not need pytest, and they leave the state of
torch's random number generator unchanged. Together they take a few seconds.
"""

from collections.abc import Callable

from smskd.interfaces.terms import Anchor, Method
from smskd.testing import anchors, declaration, losses, samples, stages, state, zoo
from smskd.testing.anchor_case import AnchorCase
from smskd.testing.case import Case
from smskd.testing.method_case import MethodCase, method_case
from smskd.testing.suite import run_all, suite

__all__ = ["ANCHOR_CHECKS", "CHECKS", "check_anchor", "check_method"]

_SHARED: dict[str, Callable[[Case], None]] = {
    "loss": losses.loss,
    "trained parameters": losses.trained_parameters,
    "bf16 autocast": losses.autocast,
    "batch of one": losses.batch_of_one,
    "deterministic": losses.deterministic,
    "related samples": samples.related_samples,
    "state through safetensors": state.through_safetensors,
    "state copied": state.copied,
    "state without pickle": state.without_pickle,
    "state in place": state.in_place,
}


def _of_method(check: Callable[[MethodCase], None]) -> Callable[[Method], None]:
    return lambda method: check(method_case(method))


def _of_anchor(check: Callable[[AnchorCase], None]) -> Callable[[Anchor], None]:
    return lambda anchor: check(AnchorCase(anchor.resolve({"response"})))


CHECKS: dict[str, Callable[[Method], None]] = suite(
    {
        "frozen dataclass": declaration.frozen_dataclass,
        "kind and weights": declaration.kind_and_weights,
        "description": declaration.description,
        "reads": declaration.reads_of_method,
        **{name: _of_method(check) for name, check in _SHARED.items()},
        "order of the batch": _of_method(samples.order_of_the_batch),
        "zoo pairs": zoo.pairs,
        "gradients": stages.gradients,
        "first stage": stages.first,
        "second stage": stages.second,
        "third stage": stages.third,
        "joint with kd": stages.joint,
    }
)
"""All checks of methods by name. A check takes a method and raises an AssertionError that names both."""

ANCHOR_CHECKS: dict[str, Callable[[Anchor], None]] = suite(
    {
        "frozen dataclass": declaration.frozen_dataclass,
        "weight": declaration.weight,
        "description": declaration.description,
        "reads": declaration.reads_of_anchor,
        "resolve": declaration.resolve,
        **{name: _of_anchor(check) for name, check in _SHARED.items()},
        "at the reference": _of_anchor(anchors.at_reference),
        "end of stage": _of_anchor(anchors.end_of_stage),
        "gradients": anchors.gradients,
        "later stages": anchors.stages,
    }
)
"""All checks of anchors by name. A check takes an anchor and raises an AssertionError that names both."""


def check_method(method: type[Method] | Method) -> None:
    """Runs all checks on a method.

    Args:
        method: its class, which is then checked with its defaults, or an object with other hyper-parameters.

    Raises:
        AssertionError: a line for each failed check, with the names of the method and of the check.
    """
    run_all(CHECKS, method)


def check_anchor(anchor: type[Anchor] | Anchor) -> None:
    """Runs all checks on an anchor.

    Args:
        anchor: its class, which is then checked with its defaults, or an object with other hyper-parameters.

    Raises:
        AssertionError: a line for each failed check, with the names of the anchor and of the check.
    """
    run_all(ANCHOR_CHECKS, anchor)
