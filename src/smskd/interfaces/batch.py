"""A batch of training samples, and the outputs of the frozen networks for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from smskd.interfaces.features import Tap
from smskd.interfaces.inputs import ATTENTION_MASK, Inputs

TEACHER_VIEW = "teacher"
"""The view of ``Batch.views`` that the teacher is given in place of ``Batch.x``, where there is one."""


TRAINED_VIEW = "train"
"""The images that the student is trained on, ``Batch.x``, among views by name."""


@dataclass(frozen=True)
class Progress:
    """How far training has come within its stage."""

    epoch: int = 1
    """Counted from 1 at the start of the stage."""
    epochs: int = 1


@dataclass(frozen=True)
class SampleKeys:
    """Identifies the images of a batch among all that the loader can produce.

    On the CPU, so that a lookup by it does not wait for the device.
    """

    index: Tensor
    """[N] int64 position of each sample in the data set."""
    epoch: int
    """Number of the epoch, as the loader counts."""
    variant: Tensor | None
    """[N] int64 number of the augmentation variant of each sample, as the teacher is given it; None where variants
    cannot be counted."""
    content: Tensor | None = None
    """[N] int64 checksum of each image as the data set gave it; None where the data set always gives the same ones."""


@dataclass(frozen=True)
class FrozenOutputs:
    """The outputs of the frozen networks for the images of a batch, by tap, without gradient."""

    teacher: Mapping[Tap, Tensor] = field(default_factory=dict)
    reference: Mapping[Tap, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Training samples."""

    x: Inputs
    """[N, channels, height, width], normalised floats; or tensors by name with N rows each, such as token ids."""
    y: Tensor
    """[N] int64 class indices; where images are mixed, the class with the largest share."""
    index: Tensor | None = None
    """[N] int64 position of each sample in the data set; CRD keeps a memory by it."""
    progress: Progress = field(default_factory=Progress)
    views: Mapping[str, Tensor] = field(default_factory=dict)
    """Other views of the same images by name, each shaped as ``x``: ``strong``, a strong augmentation; ``teacher``,
    where the teacher is given other images than the student."""
    keys: SampleKeys | None = None
    """Identifies the images of ``x``, for the cache of the teacher's outputs; None where the loader does not."""
    outputs: FrozenOutputs | None = None
    """Of teacher and reference, where they were computed beforehand; None: the objective computes them."""

    @property
    def token_mask(self) -> Tensor | None:
        """Where there is a token and no padding, bool [N, L]; None where the samples are no sequences of tokens."""
        mask = None if isinstance(self.x, Tensor) else self.x.get(ATTENTION_MASK)
        return None if mask is None else mask != 0

    targets: Tensor | None = None
    """[N, classes] class probabilities of mixed images (mixup, CutMix), float32; None where images are not mixed."""

    @property
    def labels(self) -> Tensor:
        """What cross-entropy takes: ``targets`` [N, classes] where images are mixed, ``y`` [N] otherwise."""
        return self.y if self.targets is None else self.targets

    @property
    def teacher_images(self) -> Inputs:
        """What the teacher is given, shaped as ``x``."""
        return self.views.get(TEACHER_VIEW, self.x)
