"""A batch in pieces: those of a step that accumulates gradients, and the parts of several processes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from smskd.data.loaders.batching import mapped
from smskd.interfaces.batch import Batch, Part
from smskd.interfaces.objective import Losses


def pieces(batch: Batch, count: int) -> Iterator[tuple[Batch, float]]:
    """The pieces of a batch that follow one another in a step, and the weight of each mean loss in that of the batch.

    The weights of all pieces in all processes sum to 1.

    Args:
        batch: with the rows of this process.
        count: of pieces; fewer where a piece would have less than two rows.
    """
    part = batch.part or Part((len(batch.y),))
    if count == 1:
        yield batch, part.share
        return
    for rows, own in part.pieces(count):
        piece = mapped(batch, lambda tensor, rows=rows: tensor[rows])  # type: ignore[misc]
        yield replace(piece, keys=None, part=own), own.share * own.total / part.total


def joined(losses: Sequence[Losses], weights: Sequence[float]) -> Losses:
    """The losses of a batch, from those of its pieces, without gradient."""
    if len(losses) == 1:
        return losses[0]
    whole = sum(weights)

    def mean(values: list[Tensor]) -> Tensor:
        weighted = [value.detach() * (weight / whole) for value, weight in zip(values, weights, strict=True)]
        return torch.stack(weighted).sum()

    return Losses(
        mean([own.total for own in losses]),
        {name: mean([own.parts[name] for own in losses]) for name in losses[0].parts},
        torch.cat([own.logits.detach() for own in losses]),
    )


def counted(batch: Batch) -> int:
    """The rows of a batch that this process counts; every row is counted by one process."""
    return len(batch.y) if batch.part is None else batch.part.counted
