"""Runs the teacher such that its outputs for an image are bit-identical whichever images are computed with it.

The rounding of sums depends on the batch size. Hence every chunk has the same number of images, filled up with zeros.
"""

from collections.abc import Collection

import torch
from torch import Tensor

from smskd.data.loaders.batching import coalesced_batches
from smskd.models.frozen import Frozen

CHUNKS = {"cpu": 16, "cuda": 256}
"""Images in a chunk, by type of device."""

CHUNK = 64
"""Likewise on other devices, and the most for large images."""


def chunk_size(example: Tensor) -> int:
    """Images in a chunk.

    Args:
        example: an image [1, channels, height, width], for its shape and device.
    """
    fitting = coalesced_batches(example.device, CHUNK, example.shape[1:]) * CHUNK
    return min(CHUNKS.get(example.device.type, CHUNK), fitting)


def extract_in_chunks(teacher: Frozen, x: Tensor, names: Collection[str], size: int) -> dict[str, Tensor]:
    """The teacher's outputs by name, [N, ...] each.

    Args:
        teacher: is run.
        x: images [N, channels, height, width].
        names: of outputs.
        size: images in a chunk.
    """
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    for images in torch.split(x, size):
        chunk = x.new_zeros(size, *x.shape[1:]).contiguous(memory_format=torch.channels_last)
        chunk[: len(images)] = images
        for name, values in teacher.extract(chunk, names).items():
            parts[name].append(values[: len(images)])
    return {name: torch.cat(values) for name, values in parts.items()}
