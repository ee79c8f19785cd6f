"""What a data set holds: images by class, sizes, grayscale images, duplicates, mean and standard deviation."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from smskd.data.dataset import Dataset
from smskd.data.equal_images import EqualImages, Place, find_equal_images, image_digest, image_digests
from smskd.data.images import Images
from smskd.data.samples import Split, StreamedSamples, read_sample
from smskd.data.seeded import seeded
from smskd.data.sources.catalog import Track
from smskd.data.statistics import Statistics, channel_statistics

EXAMINED = 2000
"""Images of a streamed part that are read to describe it."""

_SEED = 0x64657363
"""Of the transforms' draws while images are read."""

_BLOCK = 256
"""Images in memory that are examined at a time."""


@dataclass(frozen=True)
class PartDescription:
    """One part of a data set.

    Attributes:
        images: number of images.
        examined: number of images that were read for sizes, channels, grayscale and blank images and duplicates: all
            of those in memory, of streamed ones at most 2,000 that are evenly spread.
        counted: number of images whose labels are counted.
        class_counts: of each class, the images among those counted.
        sizes: images examined by size, such as ``32x32`` (height x width), most frequent first.
        channels: images examined by number of channels, most frequent first.
        grayscale: images examined whose three channels are equal.
        blank: images examined whose pixels are all equal.
        streamed: whether the images are read whenever they are needed.
        memory: bytes that all images and labels take in memory; of streamed ones as many as they would take, by the
            images examined.
    """

    images: int
    examined: int
    counted: int
    class_counts: tuple[int, ...]
    sizes: dict[str, int]
    channels: dict[int, int]
    grayscale: int
    blank: int
    streamed: bool
    memory: int


@dataclass(frozen=True)
class Description:
    """A data set.

    Attributes:
        class_names: one name per class.
        parts: ``train``, ``validation`` where there is one, and ``test``.
        duplicates: equal images among those examined.
        normalisation: mean and standard deviation per channel that training uses.
        measured: mean and standard deviation of the training images examined; None where these differ in channels.
    """

    class_names: tuple[str, ...]
    parts: dict[str, PartDescription]
    duplicates: EqualImages
    normalisation: Statistics
    measured: Statistics | None


def describe(dataset: Dataset, track: Track | None = None) -> Description:
    """Describes a data set; streamed samples are read, at most 2,000 of each part.

    Args:
        dataset: the data set.
        track: shows progress where samples are read; it is called with their rows and how many they are.

    Raises:
        UserError: a sample cannot be read; it is named.
    """
    parts = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    examined = {name: _examined(split, track) for name, split in parts.items() if split is not None}
    return Description(
        class_names=dataset.class_names,
        parts={name: facts.description() for name, facts in examined.items()},
        duplicates=find_equal_images({name: facts.places(name) for name, facts in examined.items()}),
        normalisation=(dataset.mean, dataset.std),
        measured=examined["train"].statistics,
    )


@dataclass
class _Examined:
    """The facts of a part that are collected image by image."""

    split: Split
    rows: list[int]
    labels: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    sizes: Counter[str] = field(default_factory=Counter)
    channels: Counter[int] = field(default_factory=Counter)
    grayscale: int = 0
    blank: int = 0
    stored_bytes: int = 0
    statistics: Statistics | None = None

    def places(self, part: str) -> Iterator[tuple[bytes, Place]]:
        for digest, row, label in zip(self.digests, self.rows, self.labels, strict=True):
            yield digest, Place(part, row, label)

    def description(self) -> PartDescription:
        known = self.split.known_labels()
        labels = torch.tensor(self.labels, dtype=torch.int64) if known is None else known
        return PartDescription(
            images=len(self.split),
            examined=len(self.rows),
            counted=len(labels),
            class_counts=tuple(torch.bincount(labels.cpu(), minlength=self.split.classes).tolist()),
            sizes=dict(self.sizes.most_common()),
            channels=dict(self.channels.most_common()),
            grayscale=self.grayscale,
            blank=self.blank,
            streamed=isinstance(self.split, StreamedSamples),
            memory=round(self.stored_bytes * len(self.split) / max(len(self.rows), 1)) + 8 * len(self.split),
        )


def _examined(split: Split, track: Track | None) -> _Examined:
    return _of_images(split) if isinstance(split, Images) else _of_samples(split, track)


def _of_images(images: Images) -> _Examined:
    """All images, by blocks: they have one size."""
    channels, height, width = images.shape
    found = _Examined(images, list(range(len(images))), images.labels.tolist(), list(image_digests(images)))
    found.sizes[_size(height, width)] = found.channels[channels] = len(images)
    found.stored_bytes = images.pixels.numel()
    for block in torch.split(images.pixels, _BLOCK):
        pixels = block.flatten(2)
        found.blank += int(_blank(pixels).sum())
        found.grayscale += int(_gray(pixels).sum())
    found.statistics = channel_statistics(images) if len(images) else None
    return found


def _of_samples(samples: StreamedSamples, track: Track | None) -> _Examined:
    rows = spread_rows(len(samples), EXAMINED)
    found = _Examined(samples, rows)
    sums = _Sums()
    tracked: Iterable[int] = rows if track is None else track(rows, len(rows))
    for row in tracked:
        with seeded(_SEED):  # equal draws for all images: random transforms hide no duplicates
            image, label = read_sample(samples, row, samples.classes)
        channels, height, width = image.shape
        found.labels.append(label)
        found.digests.append(image_digest(image))
        found.sizes[_size(height, width)] += 1
        found.channels[channels] += 1
        found.stored_bytes += image.numel() * image.element_size()
        found.blank += int(_blank(image.flatten(1)[None]))
        found.grayscale += int(_gray(image.flatten(1)[None]))
        sums.add(image)
    found.statistics = sums.statistics() if len(found.channels) == 1 else None
    return found


class _Sums:
    """Sums over pixels per channel, from which mean and standard deviation follow."""

    def __init__(self) -> None:
        self.pixels = 0
        self.sums: Any = 0.0
        self.squares: Any = 0.0

    def add(self, image: Tensor) -> None:
        values = image.flatten(1).double() / (255 if image.dtype == torch.uint8 else 1)
        if self.pixels and len(values) != len(self.sums):
            return
        self.pixels += values.shape[1]
        self.sums = self.sums + values.sum(1)
        self.squares = self.squares + (values**2).sum(1)

    def statistics(self) -> Statistics:
        mean = self.sums / self.pixels
        deviation = (self.squares / self.pixels - mean**2).clamp(min=0).sqrt()
        return tuple(mean.tolist()), tuple(deviation.tolist())


def spread_rows(total: int, most: int) -> list[int]:
    """Up to ``most`` rows, evenly spread over all."""
    return [position * total // most for position in range(most)] if total > most else list(range(total))


def _size(height: int, width: int) -> str:
    return f"{height}x{width}"


def _blank(pixels: Tensor) -> Tensor:
    """Of each image, [n, channels, pixels], whether each of its channels is constant: bool [n]."""
    return (pixels == pixels[:, :, :1]).all(2).all(1)


def _gray(pixels: Tensor) -> Tensor:
    """Of each image, [n, channels, pixels], whether it has three channels and they are equal: bool [n]."""
    if pixels.shape[1] != 3:
        return torch.zeros(len(pixels), dtype=torch.bool)
    return (pixels == pixels[:, :1]).all(2).all(1)
