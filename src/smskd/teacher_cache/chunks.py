"""Runs the teacher such that its outputs for a sample are bit-identical whichever samples are computed with it.

The rounding of sums depends on the sizes of the tensors. Hence every chunk has the same number of samples: images are
filled up with zeros, and sequences with padding, all to the same length.
"""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from smskd.data.loaders.batching import coalesced_batches
from smskd.interfaces.inputs import Inputs, device_of, form_of, rows_of, take
from smskd.models.frozen import Frozen

CHUNKS = {"cpu": 16, "cuda": 256}
"""Images in a chunk, by type of device."""

CHUNK = 64
"""Likewise on other devices, and the most for large images."""


def chunk_size(example: Inputs) -> int:
    """Images in a chunk.

    Args:
        example: an image [1, channels, height, width], or samples of several tensors by name, for shape and device.
    """
    device = device_of(example)
    fitting = coalesced_batches(device, CHUNK, form_of(example)) * CHUNK
    return min(CHUNKS.get(device.type, CHUNK), fitting)


def extract_in_chunks(
    teacher: Frozen, x: Inputs, names: Collection[str], size: int, example: Inputs, padding: Mapping[str, float]
) -> dict[str, Tensor]:
    """The teacher's outputs by name, [N, ...] each.

    Args:
        teacher: is run.
        x: images [N, channels, height, width], or tensors by name.
        names: of outputs.
        size: samples in a chunk.
        example: of several tensors by name: its lengths are those of all chunks, whatever the lengths in a batch are.
        padding: the value by which each of those tensors is filled up.
    """
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    for start in range(0, rows_of(x), size):
        samples = take(x, slice(start, start + size))
        chunk = _filled(samples, size, example, padding)
        for name, values in teacher.extract(chunk, names).items():
            parts[name].append(values[: rows_of(samples)])
    return {name: torch.cat(values) for name, values in parts.items()}


def _filled(samples: Inputs, size: int, example: Inputs, padding: Mapping[str, float]) -> Inputs:
    if isinstance(samples, Tensor):
        chunk = samples.new_zeros(size, *samples.shape[1:]).contiguous(memory_format=torch.channels_last)
        chunk[: len(samples)] = samples
        return chunk
    assert not isinstance(example, Tensor)
    whole = {
        name: _lengthened(values, example[name].shape[1:], padding.get(name, 0)) for name, values in samples.items()
    }
    # Copies of the last sample, since a network may fail on a sequence that is padding alone.
    return take(whole, torch.arange(size, device=device_of(whole)).clamp(max=rows_of(whole) - 1))


def _lengthened(values: Tensor, shape: torch.Size, padding: float) -> Tensor:
    if values.shape[1:] == shape:
        return values
    result = values.new_full((len(values), *shape), padding)
    result[:, : values.shape[1]] = values
    return result
