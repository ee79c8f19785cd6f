"""The order of samples in an epoch and its division into batches: the same for both loaders."""

import torch
from torch import Tensor

from smskd.data.counter_rng import mix
from smskd.errors import UserError

_ORDER = 0x6F72646572
"""Sets the hash of the order apart from other hashes of (seed, epoch)."""


def epoch_order(samples: int, seed: int, epoch: int, shuffle: bool) -> Tensor:
    """The order of samples in an epoch: positions in the data set, int64 [samples], on the CPU."""
    if not shuffle:
        return torch.arange(samples)
    return torch.randperm(samples, generator=torch.Generator().manual_seed(mix(_ORDER, seed, epoch)))


def repeated(order: Tensor, repeats: int) -> tuple[Tensor, Tensor]:
    """An epoch in which each sample occurs several times in a row, and only the first samples of the order occur.

    It is as long as the order. E. Hoffer et al.: Augment your batch, CVPR 2020 (arXiv 1901.09335); the same as
    ``RASampler`` of DeiT and torchvision in a single process.

    Args:
        order: of the samples, int64 [N].
        repeats: of each sample.

    Returns:
        The samples, int64 [N], and the number of each one's draw: its index, plus N for each earlier occurrence, so
        that no two draws of an epoch have the same number.
    """
    if repeats == 1:
        return order, order
    index = order.repeat_interleave(repeats)[: len(order)]
    return index, index + len(order) * (torch.arange(len(order)) % repeats)


def batch_bounds(samples: int, batch_size: int, *, drop_last: bool, training: bool) -> list[tuple[int, int]]:
    """Begin and end of each batch in the epoch's order.

    An incomplete last batch is kept, as in the published experiments. While training it is left out if it
    is a single sample, because batch norm has no variance of one value.

    Args:
        samples: in the data set.
        batch_size: of all batches, except perhaps the last.
        drop_last: leave out every incomplete last batch.
        training: leave out an incomplete last batch of one sample.

    Raises:
        UserError: the batch size is less than 1, or no batch is left.
    """
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; it has to be 1 or more")
    bounds = [(begin, min(begin + batch_size, samples)) for begin in range(0, samples, batch_size)]
    if bounds:
        length = bounds[-1][1] - bounds[-1][0]
        if length < batch_size and (drop_last or (training and length == 1)):
            bounds.pop()
    if not bounds:
        raise UserError(f"{samples} sample(s) make no batch of {batch_size}; take more samples or smaller batches")
    return bounds
