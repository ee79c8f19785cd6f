"""A batch of training samples, and the outputs of the frozen networks for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise

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
class Part:
    """The rows of a batch that this process has, where several processes share it."""

    sizes: tuple[int, ...]
    """Number of rows of each process, one after the other in the batch."""
    rank: int = 0
    """Number of this process."""
    whole: bool = False
    """Whether every process has the whole batch: one too small to be shared, or of which nothing can be shared."""
    continues: bool = False
    """Whether the rows belong to the same step as those before them (gradient accumulation)."""
    divided: "tuple[Part, ...]" = ()
    """Of the pieces that a step takes one after another, where each of them is shared. The rows of this process are
    then not consecutive in the batch."""

    @property
    def size(self) -> int:
        """Number of rows of this process."""
        return self.sizes[self.rank]

    @property
    def total(self) -> int:
        """Number of rows of the batch."""
        return self.sizes[0] if self.whole else sum(self.sizes)

    @property
    def rows(self) -> slice:
        """Of the batch or piece, those of this process, where they are consecutive."""
        if self.whole:
            return slice(0, self.total)
        begin = sum(self.sizes[: self.rank])
        return slice(begin, begin + self.size)

    @property
    def share(self) -> float:
        """The weight of this process's mean loss in that of the batch; those of all processes sum to 1."""
        return 1 / len(self.sizes) if self.whole else self.size / self.total

    @property
    def counted(self) -> int:
        """The rows that this process counts; every row is counted by one process."""
        if self.whole:
            return self.total if self.rank == 0 else 0
        return self.size

    def pieces(self, count: int) -> "list[tuple[slice, Part]]":
        """The rows of this process in the pieces of a step, each with its place in the piece of all processes.

        Args:
            count: of the pieces, where the batch is not divided into them already; fewer where one would have less than
                two rows.
        """
        parts = self.divided or tuple(
            replace(self, sizes=(size,) * len(self.sizes), continues=piece > 0)
            for piece, size in enumerate(in_pieces(self.size, max(1, min(count, self.size // 2))))
        )
        ends = list(accumulate(part.size for part in parts))
        return [(slice(end - part.size, end), part) for part, end in zip(parts, ends, strict=True)]


def in_pieces(size: int, count: int) -> list[int]:
    """The sizes of so many pieces, as equal as can be."""
    ends = [size * piece // count for piece in range(count + 1)]
    return [end - begin for begin, end in pairwise(ends)]


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
    part: Part | None = None
    """Which rows of a batch these are, where several processes share it or a step takes several pieces; None: they are
    the batch."""

    @property
    def labels(self) -> Tensor:
        """What cross-entropy takes: ``targets`` [N, classes] where images are mixed, ``y`` [N] otherwise."""
        return self.y if self.targets is None else self.targets

    @property
    def teacher_images(self) -> Inputs:
        """What the teacher is given, shaped as ``x``."""
        return self.views.get(TEACHER_VIEW, self.x)
