"""Runs that may differ by rounding."""

import pytest

from smskd.config.cache import CacheConfig, CacheMode
from smskd.config.given import given
from smskd.config.models import TeacherConfig
from smskd.config.optimization import OptimizerConfig
from smskd.training.reports import EpochReport
from tests.support import tiny

SLOW = OptimizerConfig(learning_rate=1e-3)
"""Fast training would enlarge small differences."""


def cached_teacher(mode: CacheMode, folder: str | None = None) -> TeacherConfig:
    """The teacher that a test gives, with a cache of its outputs."""
    return TeacherConfig(given(tiny.EXAMPLE), cache=CacheConfig(mode, folder))


def check_near(some: list[EpochReport], others: list[EpochReport]) -> None:
    """Losses are equal up to rounding, accuracies and cache hits exactly."""
    for one, other in zip(some, others, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=2e-5)
        assert (one.test_top1, one.cache_hits) == (other.test_top1, other.cache_hits)
        assert one.train_top1 == other.train_top1
