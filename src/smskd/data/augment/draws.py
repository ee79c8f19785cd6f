"""Random numbers of samples, which follow from (seed, epoch, sample) alone."""

import torch
from torch import Tensor

from smskd.data.counter_rng import mix_tensor


def uniform(key: int, epoch: int, index: Tensor, count: int) -> Tensor:
    """[N, count] float64, each uniform in [0, 1).

    Args:
        key: seed and purpose.
        epoch: of the run.
        index: [N] int64 number of each draw, on the CPU.
        count: of random numbers for each.
    """
    return (mix_tensor(key, epoch, index[:, None], torch.arange(count)) >> 10).double() / 2**53


def between(share: Tensor, low: float, high: float) -> Tensor:
    """Values that are uniform in [0, 1) as values that are uniform between two limits."""
    return low + (high - low) * share
