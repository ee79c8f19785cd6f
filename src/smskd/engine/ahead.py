"""Frozen networks look ahead: what they say of several batches is computed at once.

A GPU is busy only with many pictures, and needs some time to be told of each operation. The student has to take its
batches one after another; teacher and reference need not.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from smskd.types import Batch, Draw, FrozenOutputs

VALUES = {"cuda": 1024 * 3 * 32 * 32}
"""Numbers in the pictures that are looked at together, by type of device; elsewhere every batch is looked at alone."""


def batches_ahead(batch_size: int, picture: Tensor) -> int:
    """How many batches are looked at together.

    Args:
        batch_size: pictures in a batch.
        picture: one, [1, channels, height, width].
    """
    return max(1, VALUES.get(picture.device.type, 0) // (batch_size * picture[0].numel()))


def looking_ahead(batches: Iterable[Batch], count: int, look: Callable[[Batch], FrozenOutputs]) -> Iterator[Batch]:
    """The batches, with what the frozen networks say of them.

    Args:
        batches: of an epoch.
        count: how many are looked at together.
        look: says of a batch what the frozen networks say of it, picture by picture.
    """
    iterator = iter(batches)
    while group := list(islice(iterator, count)):
        outputs = look(_joined(group))
        sizes = [len(batch.y) for batch in group]
        teacher, reference = _split(outputs.teacher, sizes), _split(outputs.reference, sizes)
        for batch, *own in zip(group, teacher, reference, strict=True):
            # What it was drawn by has served its purpose, and lies on the CPU.
            yield replace(batch, outputs=FrozenOutputs(*own), draw=None)


def _joined(group: Sequence[Batch]) -> Batch:
    """One batch of the pictures of several."""
    first = group[0]
    if len(group) == 1:
        return first
    draws = [batch.draw for batch in group if batch.draw is not None]
    return replace(
        first,
        x=torch.cat([batch.x for batch in group]),
        y=torch.cat([batch.y for batch in group]),
        index=_cat([batch.index for batch in group]),
        views={name: torch.cat([batch.views[name] for batch in group]) for name in first.views},
        draw=_draw(draws) if len(draws) == len(group) else None,
    )


def _draw(draws: Sequence[Draw]) -> Draw:
    return Draw(
        torch.cat([draw.index for draw in draws]),
        draws[0].epoch,
        _cat([draw.variant for draw in draws]),
        _cat([draw.content for draw in draws]),
    )


def _cat(tensors: Sequence[Tensor | None]) -> Tensor | None:
    there = [tensor for tensor in tensors if tensor is not None]
    return torch.cat(there) if len(there) == len(tensors) else None


def _split(outputs: Mapping[str, Tensor], sizes: list[int]) -> list[dict[str, Tensor]]:
    parts = {name: torch.split(tensor, sizes) for name, tensor in outputs.items()}
    return [{name: part[place] for name, part in parts.items()} for place in range(len(sizes))]
