"""How many threads a run computes with on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from smskd.engine.setup import Setup
from smskd.models import macs

SMALL_STEP = 2_000_000_000
"""Multiply-accumulates of a step below which several threads mostly wait for each other."""


@contextmanager
def fitting_threads(setup: Setup) -> Iterator[None]:
    """One thread for a small run, as many as torch has otherwise; afterwards as many as before.

    The number follows from the run alone, so that a run which is resumed on the same machine has the same one: sums
    over several threads round differently.
    """
    before = torch.get_num_threads()
    if setup.example.device.type == "cpu" and _step(setup) < SMALL_STEP:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _step(setup: Setup) -> int:
    """Multiply-accumulates of a training step; a backward pass counts as two forward passes."""
    _, channels, height, width = (int(size) for size in setup.example.shape)
    shape = (channels, height, width)
    teacher = macs(setup.teacher.wrapped, shape) if setup.teacher is not None else 0
    return setup.data.batch_size * (3 * macs(setup.student.wrapped, shape) + teacher)
