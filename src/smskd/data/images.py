"""Labelled images in memory."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from smskd.errors import UserError


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images of one size in memory, as bytes. Also a map-style data set of (image, label) pairs.

    Args:
        pixels: uint8 [N, channels, height, width], 0 to 255.
        labels: int64 [N], class indices from 0 to ``len(class_names) - 1``.
        class_names: one name per class.

    Raises:
        UserError: a type or a shape is wrong, or a label is out of range; the first such row is named.
    """

    pixels: Tensor
    labels: Tensor
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(self.class_names))
        if self.pixels.dtype != torch.uint8 or self.pixels.dim() != 4:
            raise UserError(f"images are {_described(self.pixels)}; they have to be uint8 [N, channels, height, width]")
        if self.labels.dtype != torch.int64 or self.labels.dim() != 1:
            raise UserError(f"labels are {_described(self.labels)}; they have to be int64 [N]")
        if len(self.labels) != len(self.pixels):
            raise UserError(f"{len(self.pixels)} images but {len(self.labels)} labels; give one label per image")
        check_labels(self.labels, len(self.class_names))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        """The image, uint8 [channels, height, width], and the label of a row."""
        return self.pixels[row], int(self.labels[row])

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of each image."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def known_labels(self) -> Tensor:
        """The labels, int64 [N]."""
        return self.labels

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of shape, bytes, labels and number of classes; computed once.

        It does not depend on the device or the memory layout.
        """
        return self._digest

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256(repr((tuple(self.pixels.shape), self.classes)).encode())
        for tensor in (self.pixels, self.labels):
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def subset(self, n: int, seed: int = 0) -> "Images":
        """A random part, always the same for the same seed: a smaller part is the beginning of a larger one.

        Args:
            n: number of images. With ``n`` of :func:`len` or more, all of them in their own order.
            seed: of the permutation whose first ``n`` rows are taken; default 0.

        Raises:
            UserError: n is less than 1.
        """
        rows = subset_rows(len(self), n, seed)
        return self if rows is None else self.take(rows)

    def take(self, rows: Tensor) -> "Images":
        """The images of some rows, int64 [n], in that order."""
        rows = rows.to(self.pixels.device)
        return Images(self.pixels[rows], self.labels[rows], self.class_names)

    def with_classes(self, class_names: Sequence[str]) -> "Images":
        """The same images with the labels that their classes have in another list of class names.

        Raises:
            UserError: one of the classes is not in that list.
        """
        mapping = class_mapping(self.class_names, class_names).to(self.labels.device)
        return Images(self.pixels, mapping[self.labels], tuple(class_names))

    def to(self, device: torch.device | str) -> "Images":
        """The same images on a device; nothing is copied where they are there already."""
        pixels, labels = self.pixels.to(device), self.labels.to(device)
        if pixels is self.pixels and labels is self.labels:
            return self
        return Images(pixels, labels, self.class_names)


def subset_rows(total: int, n: int, seed: int) -> Tensor | None:
    """The rows, int64 [n], of the part that :meth:`Images.subset` takes; None where it is the whole.

    Raises:
        UserError: n is less than 1.
    """
    if n < 1:
        raise UserError(f"a subset of {n} images was requested; take 1 at least")
    if n >= total:
        return None
    return torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:n]


def check_labels(labels: Tensor, classes: int, where: Callable[[int], str] = "row {}".format) -> None:
    """Raises UserError naming the first row whose label is not from 0 to ``classes - 1``."""
    wrong = (labels < 0) | (labels >= classes)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise UserError(
            f"{where(row)} has label {int(labels[row])}; with {classes} classes labels are 0 to {classes - 1}"
        )


def class_mapping(own: Sequence[str], other: Sequence[str]) -> Tensor:
    """The label in ``other`` of each class of ``own``, int64 [len(own)].

    Raises:
        UserError: a class of ``own`` is not in ``other``, or a name occurs twice, so that it does not identify a class.
    """
    if tuple(own) == tuple(other):
        return torch.arange(len(own))
    places = {name: place for place, name in enumerate(other)}
    unknown = [name for name in own if name not in places]
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise UserError(f"class '{unknown[0]}'{more} is not among the {len(other)} classes of the training images")
    for names in (own, other):
        repeated = next((name for name, count in Counter(names).items() if count > 1), None)
        if repeated is not None:
            raise UserError(
                f"two classes have the name '{repeated}', and the class names of the parts are in different orders; "
                "give every class a name of its own"
            )
    return torch.tensor([places[name] for name in own], dtype=torch.int64)


_UNNAMED_CLASSES = 2**16
"""So many classes may have fewer images than one each."""


def numbered_classes(labels: Tensor, where: Callable[[int], str] = "row {}".format) -> tuple[str, ...]:
    """Names of classes that have none: the numbers from 0 to the largest label.

    Args:
        labels: int64 [N], of all training images, whether they are used or not.
        where: name of a row for messages.

    Raises:
        UserError: the largest label is a number of another kind: there would be more than 65,536 classes, and more
            than there are images.
    """
    largest = max(int(labels.max()), 0) if len(labels) else 0
    if largest >= max(len(labels), _UNNAMED_CLASSES):
        raise UserError(
            f"{where(int(labels.argmax()))} has label {largest}, which makes {largest + 1} classes for {len(labels)} "
            "images; labels number the classes from 0"
        )
    return tuple(str(label) for label in range(largest + 1))


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
