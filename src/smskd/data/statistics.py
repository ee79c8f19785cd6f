"""Mean and standard deviation of images per channel."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from smskd.data.images import Images
from smskd.data.stratified import stratified_mask

Track = Callable[[Iterable[int], int], Iterable[int]]

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per channel, of values scaled to 0..1."""

SAMPLE = 4096
"""Images that represent a larger training part. The standard error of the mean is then below 0.005."""

_STATISTICS = 0x73746174
"""Sets the hash of the sample apart from other hashes of rows."""

_BLOCK = 256
"""Images that are counted at a time."""


def channel_statistics(images: Images) -> Statistics:
    """Mean and standard deviation per channel over all pixels, of values scaled to 0..1.

    A constant channel gets a standard deviation of 1, so that it can be divided by.
    """
    return statistics_of(torch.split(images.pixels, _BLOCK))


def statistics_of(blocks: Iterable[Tensor]) -> Statistics:
    """:func:`channel_statistics` of images that are read block by block, uint8 [n, channels, height, width] each."""
    # A pixel has only 256 values: counting them is exact and needs no float copy of the images.
    counts = sum(_counts(block) for block in blocks)
    if not isinstance(counts, Tensor):
        raise ValueError("there are no images")
    values = torch.arange(256, dtype=torch.float64) / 255
    mean, std = [], []
    for count in counts:
        share = count / count.sum()
        centre = float((share * values).sum())
        mean.append(centre)
        std.append(math.sqrt(float((share * (values - centre) ** 2).sum())) or 1.0)
    return tuple(mean), tuple(std)


def whole_statistics(
    labels: Tensor, classes: int, read: Callable[[Tensor], Tensor], track: Track | None = None
) -> Statistics:
    """Mean and standard deviation of the whole training part, whatever part of it is used.

    Args:
        labels: int64 [N], of the whole training part.
        classes: number of classes.
        read: the images of some rows, int64 [n]: uint8 [n, channels, height, width].
        track: shows progress.
    """
    blocks = torch.split(statistics_rows(labels, classes), _BLOCK)
    numbers: Iterable[int] = range(len(blocks))
    return statistics_of(read(blocks[number]) for number in (track(numbers, len(blocks)) if track else numbers))


def statistics_rows(labels: Tensor, classes: int) -> Tensor:
    """The rows of the whole training part that mean and standard deviation are taken from.

    All of them, or of more than 4,096 a fixed choice of 4,096 in which each class has its share. A limit of the
    images to train on does not change it, so that the same data are normalised alike in all runs.

    Args:
        labels: int64 [N], of the whole training part.
        classes: number of classes.

    Returns:
        int64 [n], in ascending order.
    """
    if len(labels) <= SAMPLE:
        return torch.arange(len(labels))
    return stratified_mask(labels, classes, SAMPLE, _STATISTICS).nonzero()[:, 0]


def _counts(block: Tensor) -> Tensor:
    """How often each value occurs, float64 [channels, 256]."""
    channels = block.shape[1]
    offset = 256 * torch.arange(channels, device=block.device)[None, :, None, None]
    keys = (block.long() + offset).flatten()
    return torch.bincount(keys, minlength=256 * channels).view(channels, 256).double().cpu()
