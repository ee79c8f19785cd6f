"""What every distillation method keeps to, as checks that run on any method: a built-in one or your own.

In a test of your method::

    from smskd.testing import check_method

    def test_it_keeps_to_the_rules() -> None:
        check_method(MyMethod)

or one test a check: ``@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())``. The checks need no
pytest, and leave torch's random numbers as they found them. Together they take a second or two.
"""

from collections.abc import Callable
from functools import wraps

import torch

from smskd.interfaces.terms import Method
from smskd.registry import METHODS
from smskd.testing import declaration, losses, order, stages, state, zoo

__all__ = ["CHECKS", "check_method"]

Check = Callable[[Method], None]

_ALL: dict[str, Check] = {
    "frozen dataclass": declaration.frozen_dataclass,
    "kind and weights": declaration.kind_and_weights,
    "description": declaration.description,
    "taps": declaration.taps,
    "loss": losses.loss,
    "trained parameters": losses.trained_parameters,
    "bf16 autocast": losses.autocast,
    "batch of one": losses.batch_of_one,
    "deterministic": losses.deterministic,
    "order of the batch": order.order_of_the_batch,
    "state through safetensors": state.through_safetensors,
    "state copied": state.copied,
    "state without pickle": state.without_pickle,
    "state in place": state.in_place,
    "zoo pairs": zoo.pairs,
    "gradients": stages.gradients,
    "first stage": stages.first,
    "second stage": stages.second,
    "third stage": stages.third,
    "joint with kd": stages.joint,
}


def _named(name: str, check: Check) -> Check:
    """The check seeded, and its failure, whatever it is, told with the names of method and check."""

    @wraps(check)
    def run(method: Method) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            try:
                check(method)
            except AssertionError as error:
                reason, cause = str(error), error.__cause__
            except Exception as error:
                reason, cause = f"{type(error).__name__}: {error}", error
            else:
                return
        raise AssertionError(f"{METHODS.name_of(method)}: {name}: {reason}") from cause

    return run


CHECKS: dict[str, Check] = {name: _named(name, check) for name, check in _ALL.items()}
"""Every check by its name. It takes a method and raises an AssertionError that names both."""


def check_method(method: type[Method] | Method) -> None:
    """Runs every check on a method.

    Args:
        method: its class, whose defaults are then checked, or an object with the hyper-parameters to check.

    Raises:
        AssertionError: a line for each check that fails, with the names of the method and of the check.
    """
    if isinstance(method, type):
        try:
            method = method()
        except TypeError as error:
            name = METHODS.name_of(method)
            raise AssertionError(f"{name}: a method is built from its defaults alone: {error}") from error
    failures: list[AssertionError] = []
    for check in CHECKS.values():
        try:
            check(method)
        except AssertionError as error:
            failures.append(error)
    if failures:
        raise AssertionError("\n".join(map(str, failures))) from failures[0]
