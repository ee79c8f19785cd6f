"""SIGKILL at random moments: every kind of training ends as if nothing had happened."""

import pytest

from tests.support.fault_cases import random_kills
from tests.support.fault_laboratory import Laboratory
from tests.support.fault_scenarios import Verdict, hurt

TRAININGS = [
    "a page",
    "cache on disk",
    "replay",
    "loader workers",
    "pretraining of FT",
    "bf16",
    "two seeds",
    "three stages, best and average",
    "EWC",
    "SimKD",
    "distill",
]
"""The others are trained by `make faults`."""


@pytest.mark.parametrize("training", TRAININGS)
def test_the_result_is_that_of_a_run_that_is_not_killed(laboratory: Laboratory, training: str) -> None:
    case = random_kills(training, 0, laboratory.events(training))
    assert hurt(laboratory, case) == Verdict("survived")
