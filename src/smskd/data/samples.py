"""Map-style data sets whose samples are read one at a time."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from smskd.data.decode import image_tensor, label_index
from smskd.data.images import Images, class_mapping, subset_rows
from smskd.data.listed import known_labels
from smskd.data.sample_pairs import read_pair
from smskd.data.seeded import seeded
from smskd.errors import UserError

_SEED = 0x73616D706C65
"""Of the transforms' draws where samples are read outside of an epoch."""

_CHECKSUM_BYTES = 8


class Samples(Protocol):
    """A map-style data set of (image, label) pairs, such as those of torchvision, or of dicts with both.

    The keys of a dict are ``image``, ``img`` or ``pixel_values``, and ``label``, ``labels`` or ``fine_label``.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True, eq=False)
class StreamedSamples:
    """Samples of a map-style data set that are read from it whenever they are needed, and the names of their classes.

    Args:
        dataset: map-style data set of (image, label) pairs; see :func:`smskd.data.decode.image_tensor`.
        class_names: one name per class.
        indices: int64 [N], the samples of the data set that this part holds; None: all of them, in order.
        mapping: int64, the label here of each label of the data set; None: they are the same.
        part: of the run's data, such as ``training``, for messages; default: unknown.
    """

    dataset: Samples
    class_names: tuple[str, ...]
    indices: Tensor | None = None
    mapping: Tensor | None = None
    part: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(self.class_names))

    def __len__(self) -> int:
        return len(self.dataset) if self.indices is None else len(self.indices)

    def __getitem__(self, row: int) -> Any:
        """The pair (image, label) of a row, as the data set gives them.

        Raises:
            UserError: the data set raises an exception, or gives something else.
        """
        image, label = read_pair(self.dataset, self._own_row(row), self.where(row))
        if self.mapping is None:
            return image, label
        try:
            return image, int(self.mapping[label_index(label, len(self.mapping))])
        except UserError as error:
            raise UserError(f"{self.where(row)}: {error}") from error

    def picture(self, row: int) -> tuple[Any, int]:
        """The whole picture of a row and its label, of a data set that has a method ``picture``.

        Raises:
            UserError: it cannot be read.
        """
        picture, label = self.dataset.picture(self._own_row(row))  # type: ignore[attr-defined]
        return picture, label if self.mapping is None else int(self.mapping[label])

    def where(self, row: int) -> str:
        """Name of a sample for messages, by its row in the data set that was given: `training sample 17`."""
        return f"{self.part} sample {self._own_row(row)}".lstrip()

    def _own_row(self, row: int) -> int:
        return row if self.indices is None else int(self.indices[row])

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the first image, which is read once."""
        channels, height, width = read_image(self, 0).shape
        return channels, height, width

    def known_labels(self) -> Tensor | None:
        """The labels, int64 [N]; None where the data set does not list them and each sample would have to be read."""
        labels = known_labels(self.dataset)
        if labels is None:
            return None
        labels = labels if self.indices is None else labels[self.indices]
        if self.mapping is None:
            return labels
        return self.mapping[labels] if bool((labels < len(self.mapping)).all()) else None

    def fingerprint(self) -> str:
        """See :func:`samples_fingerprint`."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return samples_fingerprint(self, self.classes)

    def subset(self, n: int, seed: int = 0) -> "StreamedSamples":
        """A random part, as :meth:`Images.subset <smskd.data.Images.subset>` takes it.

        Raises:
            UserError: n is less than 1.
        """
        rows = subset_rows(len(self), n, seed)
        return self if rows is None else self.take(rows)

    def take(self, rows: Tensor) -> "StreamedSamples":
        """The samples of some rows, int64 [n], in that order."""
        indices = rows if self.indices is None else self.indices[rows]
        return replace(self, indices=indices)

    def with_classes(self, class_names: Sequence[str]) -> "StreamedSamples":
        """The same samples with the labels that their classes have in another list of class names.

        Raises:
            UserError: one of the classes is not in that list.
        """
        if tuple(class_names) == self.class_names:
            return self
        mapping = class_mapping(self.class_names, class_names)
        mapping = mapping if self.mapping is None else mapping[self.mapping]
        return replace(self, class_names=tuple(class_names), mapping=mapping)

    def named(self, part: str) -> "StreamedSamples":
        """The same samples as a part of a run's data, for messages."""
        return self if self.part == part else replace(self, part=part)


Split = Images | StreamedSamples
"""The training, validation or test part of a data set."""


def read_labels(dataset: Samples, track: Callable[[Iterable[int], int], Iterable[int]] | None = None) -> Tensor:
    """The labels, int64 [N]: the listed ones, else of every sample, each read once.

    Args:
        dataset: map-style data set of (image, label) pairs.
        track: shows progress where samples are read; it is called with their indices and how many they are.

    Raises:
        UserError: a sample is not a pair, or its label is not an integer of 0 or more.
    """
    labels = known_labels(dataset)
    if labels is not None:
        return labels
    rows: Iterable[int] = range(len(dataset))
    with seeded(_SEED):
        read = [_label(dataset, row) for row in (rows if track is None else track(rows, len(dataset)))]
    return torch.tensor(read, dtype=torch.int64)


def read_image(dataset: Samples, row: int) -> Tensor:
    """The image of a sample, [channels, height, width]; random draws of its transforms have a fixed seed.

    Raises:
        UserError: the sample is not a pair, or its image is none.
    """
    with seeded(_SEED):
        return read_sample(dataset, row)[0]


def read_sample(dataset: Samples, row: int, classes: int | None = None) -> tuple[Tensor, int]:
    """The image, [channels, height, width], and the label of a sample.

    Args:
        dataset: map-style data set of (image, label) pairs.
        row: of the sample.
        classes: number of classes; None: unknown, any label of 0 or more is accepted.

    Raises:
        UserError: image or label are not what they have to be; the sample is named.
    """
    where = place_of(dataset, row)
    image, label = read_pair(dataset, row, where)
    try:
        return image_tensor(image), label_index(label, classes)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def place_of(dataset: Samples, row: int) -> str:
    """Name of a sample for messages."""
    return dataset.where(row) if isinstance(dataset, StreamedSamples) else f"sample {row}"


def samples_fingerprint(dataset: Samples, classes: int) -> str:
    """SHA-256 (hexadecimal) that identifies a map-style data set without reading all of it.

    It covers the type of the data set, its length, the number of classes, the labels where it lists them, and first,
    middle and last image, with the random draws of transforms seeded. Two data sets that differ in other images only
    have the same fingerprint. That of :class:`~smskd.data.Images` covers every byte.

    Raises:
        UserError: one of the three samples is not a pair with an image.
    """
    if isinstance(dataset, Images):
        return dataset.fingerprint()
    kind = type(dataset.dataset if isinstance(dataset, StreamedSamples) else dataset)
    labels = known_labels(dataset)
    rows = sorted({0, len(dataset) // 2, len(dataset) - 1}) if len(dataset) else []
    with seeded(_SEED):
        images = [read_sample(dataset, row, classes)[0] for row in rows]
    facts = (
        f"{kind.__module__}.{kind.__qualname__}",
        len(dataset),
        classes,
        None if labels is None else hashlib.sha256(labels.cpu().numpy().tobytes()).hexdigest(),
        [checksum(image) for image in images],
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def checksum(image: Tensor) -> int:
    """63 bits of a hash of type, shape and values."""
    digest = hashlib.blake2b(described(image).encode(), digest_size=_CHECKSUM_BYTES)
    digest.update(image.contiguous().numpy().data)
    return int.from_bytes(digest.digest(), "little") >> 1


def described(image: Tensor) -> str:
    """Type and shape of a tensor for messages: `uint8 [3, 32, 32]`."""
    return f"{str(image.dtype).removeprefix('torch.')} {list(image.shape)}"


def _label(dataset: Samples, row: int) -> int:
    where = place_of(dataset, row)
    label = read_pair(dataset, row, where)[1]
    try:
        return label_index(label)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
