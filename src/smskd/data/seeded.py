"""Seeds the random generators that a data set's transforms draw from, and restores them."""

import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch.utils.data import get_worker_info

from smskd.turns import held


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draws from ``random``, ``numpy.random`` and torch follow from a seed.

    Afterwards the random state of the program's own process is restored; a loading worker's own does not matter.
    """
    keep = get_worker_info() is None
    with held() if keep else nullcontext():
        yield from _seeded(seed, keep)


def _seeded(seed: int, keep: bool) -> Iterator[None]:
    before = (random.getstate(), np.random.get_state(), torch.get_rng_state()) if keep else None
    random.seed(seed)
    np.random.seed(seed % 2**32)
    # Not torch.manual_seed: that would reseed the GPUs too, where nothing is drawn.
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        if before is not None:
            random.setstate(before[0])
            np.random.set_state(before[1])
            torch.set_rng_state(before[2])
