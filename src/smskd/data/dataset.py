"""A data set: pictures to train on, pictures to test on, and how they are normalised."""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from smskd.data.augment.crop_flip import Augmentation
from smskd.errors import UserError


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled pictures of one size, kept as bytes. Also a map-style data set of (image, label) pairs.

    Args:
        images: uint8 [N, channels, height, width], 0 to 255, contiguous in that order.
        labels: int64 [N], class indices from 0 to ``len(class_names) - 1``.
        class_names: one name a class.

    Raises:
        UserError: a type or a shape is wrong, or a label is out of range; the first such row is named.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(self.class_names))
        if self.images.dtype != torch.uint8 or self.images.dim() != 4:
            raise UserError(f"images are {_described(self.images)}; they have to be uint8 [N, channels, height, width]")
        if self.labels.dtype != torch.int64 or self.labels.dim() != 1:
            raise UserError(f"labels are {_described(self.labels)}; they have to be int64 [N]")
        if len(self.labels) != len(self.images):
            raise UserError(f"{len(self.images)} images but {len(self.labels)} labels; give one label an image")
        check_labels(self.labels, len(self.class_names))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        """The image, uint8 [channels, height, width], and the label of a row."""
        return self.images[row], int(self.labels[row])

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of each picture."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of shape, bytes, labels and number of classes; computed once.

        It does not depend on the device or the memory layout.
        """
        return self._digest

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256(repr((tuple(self.images.shape), self.classes)).encode())
        for tensor in (self.images, self.labels):
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def subset(self, n: int, seed: int = 0) -> "Images":
        """A random part, always the same for the same seed: a smaller part is the beginning of a larger one.

        Args:
            n: number of pictures; all of them, in their own order, where there are no more than that.
            seed: of the permutation whose first ``n`` rows are taken.

        Raises:
            UserError: n is less than 1.
        """
        rows = subset_rows(len(self), n, seed)
        if rows is None:
            return self
        rows = rows.to(self.images.device)
        return Images(self.images[rows], self.labels[rows], self.class_names)

    def to(self, device: torch.device | str) -> "Images":
        """The same pictures on a device; nothing is copied where they are there already."""
        images, labels = self.images.to(device), self.labels.to(device)
        if images is self.images and labels is self.labels:
            return self
        return Images(images, labels, self.class_names)


def subset_rows(total: int, n: int, seed: int) -> Tensor | None:
    """The rows, int64 [n], of the part that :meth:`Images.subset` takes; None where it is the whole.

    Raises:
        UserError: n is less than 1.
    """
    if n < 1:
        raise UserError(f"a part of {n} pictures was asked for; take 1 at least")
    if n >= total:
        return None
    return torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:n]


def check_labels(labels: Tensor, classes: int) -> None:
    """Raises UserError naming the first row whose label is not from 0 to ``classes - 1``."""
    wrong = (labels < 0) | (labels >= classes)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise UserError(f"row {row} has label {int(labels[row])}; with {classes} classes labels are 0 to {classes - 1}")


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """Training and test pictures of the same classes and size.

    Args:
        name: as in the catalog.
        train: the pictures to train on.
        test: the pictures to test on.
        mean: per channel, of pixel values scaled to 0..1.
        std: per channel, likewise; positive.
        padding: pixels of the random crop that is customary for this data; default 4, as for CIFAR.
        flip: whether a mirrored picture still shows its class; default true.

    Raises:
        UserError: train and test do not fit each other, or mean and std do not fit them.
    """

    name: str
    train: Images
    test: Images
    mean: tuple[float, ...]
    std: tuple[float, ...]
    padding: int = 4
    flip: bool = True

    def __post_init__(self) -> None:
        if self.train.shape != self.test.shape:
            raise UserError(
                f"{self.name}: training pictures are {_size(self.train)}, test pictures {_size(self.test)}; "
                "bring both to one size"
            )
        if self.train.class_names != self.test.class_names:
            raise UserError(f"{self.name}: training and test pictures have different classes")
        self.normalisation().check_channels(self.shape[0])

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.train.classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name a class."""
        return self.train.class_names

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of each picture."""
        return self.train.shape

    def augmentation(self, memory_format: torch.memory_format = torch.contiguous_format) -> Augmentation:
        """The customary augmentation of this data: crop, flip, normalise."""
        return Augmentation(
            mean=self.mean, std=self.std, padding=self.padding, flip=self.flip, memory_format=memory_format
        )

    def normalisation(self, memory_format: torch.memory_format = torch.contiguous_format) -> Augmentation:
        """What test pictures go through: they are normalised and nothing else."""
        return self.augmentation(memory_format).plain()

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of both sets of pictures and of mean and std."""
        parts = (self.train.fingerprint(), self.test.fingerprint(), self.mean, self.std)
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def channel_statistics(pictures: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel over all pixels, of values scaled to 0..1.

    A channel that is the same everywhere gets a standard deviation of 1, so that it can be divided by.
    """
    # A pixel has 256 values only: counting them is exact and needs no float copy of the pictures.
    values = torch.arange(256, dtype=torch.float64) / 255
    mean, std = [], []
    for channel in range(pictures.shape[0]):
        counts = torch.bincount(pictures.images[:, channel].flatten().cpu(), minlength=256).double()
        share = counts / counts.sum()
        centre = float((share * values).sum())
        mean.append(centre)
        std.append(math.sqrt(float((share * (values - centre) ** 2).sum())) or 1.0)
    return tuple(mean), tuple(std)


def _size(pictures: Images) -> str:
    channels, height, width = pictures.shape
    return f"{height}x{width} with {channels} channel{'s' if channels > 1 else ''}"
