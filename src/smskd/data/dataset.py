"""A data set: pictures to train on, pictures to test on, and how they are normalised."""

import hashlib
import math
from dataclasses import dataclass

import torch

from smskd.data.augment import Augmentation
from smskd.data.pictures import Pictures
from smskd.errors import UserError


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
    train: Pictures
    test: Pictures
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


def channel_statistics(pictures: Pictures) -> tuple[tuple[float, ...], tuple[float, ...]]:
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


def _size(pictures: Pictures) -> str:
    channels, height, width = pictures.shape
    return f"{height}x{width} with {channels} channel{'s' if channels > 1 else ''}"
