"""The encoded images of the shards of a WebDataset, read by their position."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from smskd.data.images import check_labels, numbered_classes
from smskd.data.sources.catalog import Track
from smskd.data.sources.image_decoding import encoded_limit
from smskd.data.sources.shard_index import Label, LabelPlace, read_shard
from smskd.errors import UserError

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Index:
    """Where the images of some shards lie, and their labels as they are written."""

    paths: list[Path]
    begins: Integers
    """Number of the first sample of each shard."""
    offsets: Integers
    """Of each image, in bytes from the beginning of its shard."""
    sizes: Integers
    """Of each image, in bytes."""
    labels: list[Label]

    def where(self, row: int) -> str:
        """The shard and the number of the sample in it, for messages."""
        shard = self.shard(row)
        return f"{self.paths[shard]}, sample {row - int(self.begins[shard])} (counted from 0)"

    def shard(self, row: int) -> int:
        """The place of a sample's shard."""
        return int(np.searchsorted(self.begins, row, side="right")) - 1


@dataclass(frozen=True, eq=False)
class ShardSamples:
    """Labelled encoded images in shards."""

    threads: ClassVar[bool] = True

    index: Index
    labels: Tensor
    """int64 [N]"""
    class_names: tuple[str, ...]
    max_pixels: int

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, row: int) -> tuple[bytes, str]:
        """The bytes of an image, and its place for messages.

        Raises:
            UserError: the shard cannot be read, or has been changed.
        """
        index, where = self.index, self.index.where(row)
        size, limit = int(index.sizes[row]), encoded_limit(self.max_pixels)
        if size > limit:
            raise UserError(f"{where}: the image has {size} bytes, too many for {self.max_pixels} pixels (max_pixels)")
        path = index.paths[index.shard(row)]
        try:
            # Not kept open: a data set can have more shards than a process may have open files.
            with path.open("rb", buffering=0) as file:
                file.seek(int(index.offsets[row]))
                content = file.read(size)
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        if len(content) != size:
            raise UserError(f"{path} has become shorter since its headers were read")
        return content, where


def read_index(paths: list[Path], place: LabelPlace, track: Track | None = None) -> Index:
    """Reads the headers of shards, and the labels.

    Args:
        paths: of the shards, in their order.
        place: where labels are.
        track: shows progress, shard by shard.

    Raises:
        UserError: a shard is damaged, or a sample has no image or no label.
    """
    begins: list[int] = []
    offsets: list[Integers] = []
    sizes: list[Integers] = []
    labels: list[Label] = []
    numbers = range(len(paths))
    for number in numbers if track is None else track(numbers, len(paths)):
        shard = read_shard(paths[number], place)
        begins.append(len(labels))
        offsets.append(np.array(shard.offsets, dtype=np.int64))
        sizes.append(np.array(shard.sizes, dtype=np.int64))
        labels += shard.labels
    return Index(paths, np.array(begins, dtype=np.int64), np.concatenate(offsets), np.concatenate(sizes), labels)


def labelled(
    train: Index, test: Index, listed: Sequence[str] | None, max_pixels: int
) -> tuple[ShardSamples, ShardSamples]:
    """Both parts with labels that count the same classes.

    Labels that are numbers are numbers of classes, which are called as ``listed``, or by their numbers. Labels that are
    names are names in ``listed``, or the classes are the sorted names of the training part.

    Args:
        train: the training part.
        test: the test part.
        listed: the names of the classes, in the order of their numbers; None: there is no list.
        max_pixels: an image of more pixels is refused.

    Raises:
        UserError: a label is not a class, or some labels are numbers and others names; the sample is named.
    """
    by_name = isinstance(train.labels[0], str)
    for index in (train, test):
        for row, label in enumerate(index.labels):
            if isinstance(label, str) != by_name:
                raise UserError(
                    f"{index.where(row)} has the label {label!r}, the first one {train.labels[0]!r}: give numbers or "
                    "names for all"
                )
    if by_name:
        names = tuple(listed or sorted({str(label) for label in train.labels}))
        numbers = [_numbers(index, names, listed is not None) for index in (train, test)]
    else:
        numbers = [torch.tensor(index.labels, dtype=torch.int64) for index in (train, test)]
        names = tuple(listed) if listed is not None else numbered_classes(numbers[0], train.where)
        for index, labels in zip((train, test), numbers, strict=True):
            check_labels(labels, len(names), index.where)
    parts = zip((train, test), numbers, strict=True)
    first, second = (ShardSamples(index, labels, names, max_pixels) for index, labels in parts)
    return first, second


def _numbers(index: Index, names: Sequence[str], are_listed: bool) -> Tensor:
    places = {name: place for place, name in enumerate(names)}
    for row, label in enumerate(index.labels):
        if label not in places:
            among = "in the list of classes" if are_listed else f"among the {len(names)} training classes"
            raise UserError(f"{index.where(row)} has the label '{label}', which is not {among}")
    return torch.tensor([places[str(label)] for label in index.labels], dtype=torch.int64)
