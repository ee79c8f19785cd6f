"""Filling a teacher's cache before training: what it costs, what it saves, and doing it."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from scipy.special import bdtrc
from torch import Tensor

from smskd.interfaces.batch import Batch, SampleKeys
from smskd.teacher_cache.cache import TeacherCache

_CHUNKS_AT_ONCE = 4
_LOOKED_AT = 4096
"""Records by which the share that is filled is estimated."""


class Enumerated(Protocol):
    """Data of which every image can be had by the numbers of sample and variant."""

    def variants(self, index: Tensor, variant: Tensor) -> Batch:
        """The images of samples in these variants, [N] int64 each, with their keys."""
        ...


def chunks_of_filling(samples: int, variants: int, chunk: int, filled: float = 0.0) -> int:
    """The number of chunks in which a cache is filled.

    Args:
        samples: of the data set.
        variants: of each sample.
        chunk: images in one.
        filled: the share that is in the cache already.
    """
    return -(-round(samples * variants * (1 - filled)) // chunk)


def chunks_of_misses(samples: int, variants: int, chunk: int, group: int, epochs: int, filled: float = 0.0) -> float:
    """The expected number of chunks in which the missing images of epochs are computed.

    A variant is drawn uniformly for each sample and epoch, so that in the n-th epoch each image is missing with
    probability ``(1 - filled) * (1 - 1 / variants) ** (n - 1)``. Those of one look-up begin a chunk of their own.

    Args:
        samples: of the data set.
        variants: of each sample.
        chunk: images in one.
        group: images that are looked up at once.
        epochs: in which the cache is read.
        filled: the share that is in the cache already.
    """
    if epochs < 1:
        return 0.0
    missing = (1 - filled) * (1 - 1 / variants) ** torch.arange(epochs, dtype=torch.float64).numpy()
    # The mean of a number of chunks is the sum, over all n, of the probability that more than n are needed.
    means = sum(bdtrc(begin, group, missing) for begin in range(0, group, chunk))
    return float(means.sum()) * samples / group


def share_filled(cache: TeacherCache, samples: int, variants: int) -> float:
    """The share of the images whose outputs are in the cache, estimated from a fixed choice of them."""
    generator = torch.Generator().manual_seed(0)
    count = min(_LOOKED_AT, samples * variants)
    index = torch.randint(samples, (count,), generator=generator)
    variant = torch.randint(variants, (count,), generator=generator)
    return cache.share_of(SampleKeys(index, 1, variant))


def fill(
    cache: TeacherCache,
    images: Enumerated,
    samples: int,
    variants: int,
    *,
    context: Callable[[], AbstractContextManager[object]],
    track: Callable[[Iterable[int], int], Iterable[int]],
    start: int = 0,
) -> bool:
    """Computes the outputs that are missing.

    They are the same, bit for bit, as those computed in training. Several processes that fill the same files share
    the work where they begin at different places, since each leaves out what it finds.

    Args:
        cache: is filled.
        images: gives them.
        samples: their number.
        variants: of each sample.
        context: in which networks run.
        track: shows progress: (the blocks of images, their number).
        start: the number of the block to begin with, modulo their number.

    Returns:
        Whether all of them are kept; where they cannot be written, such as on a full disk, no more are computed.

    Raises:
        OutputsNotFiniteError: an output is not finite.
    """
    count, block = samples * variants, cache.chunk * _CHUNKS_AT_ONCE
    blocks = -(-count // block)
    for number in track(range(start, start + blocks), blocks):
        begin = number % blocks * block
        records = torch.arange(begin, min(begin + block, count))
        batch = images.variants(records // variants, records % variants)
        with torch.no_grad(), context():
            cache.read(batch, cache.names)
        if not cache.keeps_all:
            break
    cache.share_of_hits()
    return cache.keeps_all
