"""A batch of training samples, and the outputs of the frozen networks for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Progress:
    """Where training stands within its stage."""

    epoch: int = 1
    """Counted from 1 at the start of the stage."""
    epochs: int = 1


@dataclass(frozen=True)
class SampleKeys:
    """Which of all possible pictures a batch holds.

    On the CPU, so that whoever looks something up by it does not wait for the device.
    """

    index: Tensor
    """[N] int64 position of each sample in the data set."""
    epoch: int
    """Number of the epoch, as the loader counts."""
    variant: Tensor | None
    """[N] int64 number of the augmentation variant of each sample; None where they cannot be counted."""
    content: Tensor | None = None
    """[N] int64 checksum of each picture as the data set gave it; None where it always gives the same ones."""


@dataclass(frozen=True)
class FrozenOutputs:
    """What the frozen networks say of the pictures of a batch, by tap."""

    teacher: Mapping[str, Tensor] = field(default_factory=dict)
    reference: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Some training samples."""

    x: Tensor
    """[N, channels, height, width], normalised floats."""
    y: Tensor
    """[N] int64 class indices."""
    index: Tensor | None = None
    """[N] int64 position of each sample in the data set; CRD keeps a memory by it."""
    progress: Progress = field(default_factory=Progress)
    views: Mapping[str, Tensor] = field(default_factory=dict)
    """Other views of the same pictures by name, each shaped as ``x``; ``strong`` is a strong augmentation."""
    draw: SampleKeys | None = None
    """Which pictures ``x`` holds; None where the loader does not tell. The cache of the teacher's outputs asks."""
    outputs: FrozenOutputs | None = None
    """Of teacher and reference, where they were computed beforehand; None: the objective runs them."""
