"""The conformance checks of :mod:`smskd.testing` on all methods."""

import pytest

from smskd.interfaces.terms import Method
from smskd.registry import METHODS
from smskd.testing import CHECKS

IN_THE_STAGE = {"ab": {"main_stage": True}, "fsp": {"main_stage": True}}
"""Methods whose loss is 0 in the stage by default: checked both ways."""

CASES: dict[str, Method] = {
    **{name: METHODS.find(name)() for name in METHODS.names()},
    **{f"{name} in the stage": METHODS.find(name)(**fields) for name, fields in IN_THE_STAGE.items()},
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("method", CASES)
def test_conformance(method: str, check: str) -> None:
    CHECKS[check](CASES[method])
