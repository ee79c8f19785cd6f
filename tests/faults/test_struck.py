"""Signals, disks that are full or gone, memory that does not suffice: a line, and nothing is lost."""

import pytest

from tests.support.fault_cases import CASES, OF_THE_CACHE, Case
from tests.support.fault_laboratory import Laboratory
from tests.support.fault_scenarios import Verdict, hurt


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_told_and_can_be_resumed(laboratory: Laboratory, case: Case) -> None:
    assert hurt(laboratory, case) == Verdict("survived")


@pytest.mark.parametrize("case", OF_THE_CACHE, ids=str)
def test_a_cache_that_cannot_be_written(laboratory: Laboratory, case: Case) -> None:
    assert hurt(laboratory, case) == Verdict("survived")
