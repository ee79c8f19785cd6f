"""Fixtures of the tests of stored stages."""

from collections.abc import Iterator

import pytest

from smskd.training import summary
from tests.support.kills import Killer, watch_moments


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Killer]:
    """Watches every moment at which a run does something that a kill could spoil."""
    with watch_moments(monkeypatch) as killer:
        yield killer


@pytest.fixture(autouse=True)
def no_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring the latency of both networks would take a quarter of the time of the smallest runs."""
    monkeypatch.setattr(summary, "latency", lambda model, example: {"1": 1.0, "64": 1.0})
