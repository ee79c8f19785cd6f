"""Groups of batches that are prepared at once, and batches mapped tensor by tensor."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from smskd.interfaces.batch import Batch, FrozenOutputs, Part
from smskd.interfaces.inputs import InputForm, mapped_inputs

Change = Callable[[Tensor], Tensor]
Key = TypeVar("Key")


@dataclass(frozen=True)
class BatchGroup:
    """Several training batches coalesced into one, for work that is faster on more samples at once.

    Attributes:
        batch: the samples of all the batches, one batch after the other.
        sizes: number of samples in each batch; they add up to the samples of ``batch``.
        parts: of each batch, where several processes share it; None: the batches are whole.
    """

    batch: Batch
    sizes: tuple[int, ...]
    parts: tuple[Part, ...] | None = None


def split(group: BatchGroup) -> Iterator[Batch]:
    """The batches of a group, with their part of every tensor, those of ``outputs`` included.

    They have no ``keys``: these are for looking up the frozen networks' outputs of the whole group, and lie on the CPU.
    """
    batch = replace(group.batch, keys=None)
    parts = group.parts or (None,) * len(group.sizes)
    if len(group.sizes) == 1:
        yield replace(batch, part=parts[0])
        return
    begin = 0
    for size, part in zip(group.sizes, parts, strict=True):
        rows = slice(begin, begin + size)
        yield replace(mapped(batch, lambda tensor, rows=rows: tensor[rows]), part=part)  # type: ignore[misc]
        begin += size


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

    def each(named: Mapping[Key, Tensor]) -> dict[Key, Tensor]:
        return {name: change(tensor) for name, tensor in named.items()}

    outputs = batch.outputs
    return replace(
        batch,
        x=mapped_inputs(batch.x, change),
        y=change(batch.y),
        targets=None if batch.targets is None else change(batch.targets),
        index=None if batch.index is None else change(batch.index),
        views=each(batch.views),
        outputs=outputs and FrozenOutputs(each(outputs.teacher), each(outputs.reference)),
    )


VALUES = {"cuda": 1024 * 3 * 32 * 32}
"""Numbers in the images of a group of batches, by type of device; elsewhere a group is one batch."""


def coalesced_batches(device: torch.device, batch_size: int, form: InputForm | torch.Size) -> int:
    """The number of batches in a group.

    Args:
        device: of the batches.
        batch_size: images in a batch.
        form: of an image, (channels, height, width). Batches of several tensors by name, whose lengths differ, are not
            coalesced.
    """
    if isinstance(form, Mapping):
        return 1
    values = batch_size * max(1, int(torch.Size(form).numel()))
    return max(1, VALUES.get(device.type, 0) // values)
