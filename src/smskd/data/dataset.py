"""A data set: training, validation and test images, and how they are normalised."""

import hashlib
from dataclasses import dataclass

import torch

from smskd.data.augment.crop_flip import Augmentation
from smskd.data.images import Images
from smskd.data.labelled import LabelledData
from smskd.data.samples import Split, StreamedSamples
from smskd.errors import UserError


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset(LabelledData):
    """Training and test images of the same classes and, in memory, of the same size.

    Args:
        name: of the data source.
        train: the images to train on.
        test: the images to test on. Where their classes have the names of the training images' in another order, or are
            only some of them, their labels become those of the training images; likewise of ``validation``.
        mean: per channel, of pixel values scaled to 0..1. Images that a data set gives as floats are not normalised.
        std: per channel, likewise; positive.
        padding: pixels of the random crop that is customary for this data; default 4, as for CIFAR.
        flip: whether a mirrored image still shows its class; default true.
        validation: images held out of training, on which the best epoch is selected; default None: there are none.

    Raises:
        UserError: the parts do not fit each other, or mean and std do not fit them.
    """

    name: str
    train: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    padding: int = 4
    flip: bool = True
    validation: Split | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(self.mean))
        object.__setattr__(self, "std", tuple(self.std))
        for part, split in (("train", self.train), ("test", self.test), ("validation", self.validation)):
            if split is not None:
                object.__setattr__(self, part, self._fitting(part, split))
        self.normalisation().check_channels(self.shape[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of each training image."""
        return self.train.shape

    def augmentation(self, memory_format: torch.memory_format = torch.contiguous_format) -> Augmentation:
        """The customary augmentation of this data: crop, flip, normalise."""
        return Augmentation(
            mean=self.mean, std=self.std, padding=self.padding, flip=self.flip, memory_format=memory_format
        )

    def normalisation(self, memory_format: torch.memory_format = torch.contiguous_format) -> Augmentation:
        """The transform of test and validation images: they are normalised only."""
        return self.augmentation(memory_format).plain()

    def example(self, device: torch.device) -> torch.Tensor:
        """A black image, [1, channels, height, width]."""
        return torch.zeros(1, *self.shape, device=device)

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of :meth:`fingerprints` and of mean and std."""
        parts = (*self.fingerprints().values(), self.mean, self.std)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def _fitting(self, part: str, split: Split) -> Split:
        """The part with the classes of the training images."""
        if isinstance(split, StreamedSamples):
            split = split.named("training" if part == "train" else part)
        elif isinstance(self.train, Images) and split.shape != self.train.shape:
            raise UserError(
                f"{self.name}: training images are {_size(self.train)}, {part} images {_size(split)}; "
                "bring both to one size"
            )
        if split.class_names == self.train.class_names:
            return split
        try:
            return split.with_classes(self.train.class_names)
        except UserError as error:
            raise UserError(f"{self.name}: {part} images: {error}") from None


def _size(split: Split) -> str:
    channels, height, width = split.shape
    return f"{height}x{width} with {channels} channel{'s' if channels > 1 else ''}"
