"""Frozen networks look ahead: what they say of several batches is computed at once."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice

from smskd.data.loaders.batching import joined, split
from smskd.interfaces.batch import Batch, FrozenOutputs


def precompute(
    batches: Iterable[Batch], count: int, frozen_forward: Callable[[Batch], FrozenOutputs]
) -> Iterator[Batch]:
    """The batches, with what the frozen networks say of them.

    Args:
        batches: of an epoch.
        count: how many are looked at together.
        look: says of a batch what the frozen networks say of it, picture by picture.
    """
    iterator = iter(batches)
    while group := list(islice(iterator, count)):
        batch = joined(group)
        # What it was drawn by has served its purpose, and lies on the CPU.
        batch = replace(batch, outputs=frozen_forward(batch), draw=None)
        yield from split(batch, [len(one.y) for one in group])
