"""What every method keeps to, whichever it is: the checks of :mod:`smskd.testing` on all of them."""

import pytest

from smskd import registry as discovery
from smskd.interfaces.terms import Method
from smskd.testing import CHECKS

IN_THE_STAGE = {"ab": {"main_stage": True}, "fsp": {"main_stage": True}}
"""Methods whose loss is 0 in the stage unless they are told otherwise: checked in both ways."""

METHODS: dict[str, Method] = {
    **{name: discovery.find(name)() for name in discovery.names()},
    **{f"{name} in the stage": discovery.find(name)(**fields) for name, fields in IN_THE_STAGE.items()},
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("method", METHODS)
def test_conformance(method: str, check: str) -> None:
    CHECKS[check](METHODS[method])
