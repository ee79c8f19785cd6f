"""Batches joined, split and mapped, tensor by tensor."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from smskd.interfaces.batch import Batch, FrozenOutputs, SampleKeys

Change = Callable[[Tensor], Tensor]


def tensors(batch: Batch) -> list[Tensor]:
    """All tensors of a batch that lie on its device, in an order that is the same for batches with the same tensors."""
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    mapped(batch, note)
    return found


def mapped(batch: Batch, change: Change) -> Batch:
    """The batch with each of its :func:`tensors` changed."""

    def each(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: change(tensor) for name, tensor in named.items()}

    outputs = batch.outputs
    return replace(
        batch,
        x=change(batch.x),
        y=change(batch.y),
        index=None if batch.index is None else change(batch.index),
        views=each(batch.views),
        outputs=outputs and FrozenOutputs(each(outputs.teacher), each(outputs.reference)),
    )


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch of the samples of several, which have the same tensors and no outputs of frozen networks yet."""
    first = batches[0]
    if len(batches) == 1:
        return first
    draws = [batch.draw for batch in batches if batch.draw is not None]
    return replace(
        first,
        x=torch.cat([batch.x for batch in batches]),
        y=torch.cat([batch.y for batch in batches]),
        index=_cat([batch.index for batch in batches]),
        views={name: torch.cat([batch.views[name] for batch in batches]) for name in first.views},
        draw=_draw(draws) if len(draws) == len(batches) else None,
    )


def split(batch: Batch, sizes: Sequence[int]) -> Iterator[Batch]:
    """Batches of so many samples each, of one that has as many as all of them."""
    begin = 0
    for size in sizes:
        rows = slice(begin, begin + size)
        part = mapped(batch, lambda tensor, rows=rows: tensor[rows])  # type: ignore[misc]
        yield part if batch.draw is None else replace(part, draw=_rows(batch.draw, rows))
        begin += size


def _draw(draws: Sequence[SampleKeys]) -> SampleKeys:
    return SampleKeys(
        torch.cat([draw.index for draw in draws]),
        draws[0].epoch,
        _cat([draw.variant for draw in draws]),
        _cat([draw.content for draw in draws]),
    )


def _rows(draw: SampleKeys, rows: slice) -> SampleKeys:
    def part(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor[rows]

    return SampleKeys(draw.index[rows], draw.epoch, part(draw.variant), part(draw.content))


def _cat(tensors: Sequence[Tensor | None]) -> Tensor | None:
    there = [tensor for tensor in tensors if tensor is not None]
    return torch.cat(there) if len(there) == len(tensors) else None


VALUES = {"cuda": 1024 * 3 * 32 * 32}
"""Numbers in the pictures of all batches at once, by type of device; elsewhere every batch is taken alone."""


def coalesced_batches(device: torch.device, batch_size: int, shape: Sequence[int]) -> int:
    """How many batches are taken at once.

    Args:
        device: where they are.
        batch_size: pictures in a batch.
        shape: of a picture, (channels, height, width).
    """
    values = batch_size * max(1, int(torch.Size(shape).numel()))
    return max(1, VALUES.get(device.type, 0) // values)
