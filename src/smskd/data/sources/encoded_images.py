"""Encoded images that are read and decoded one at a time, whenever they are needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from smskd.data.pil_images import Array
from smskd.data.sources.pictures import Picture


class Encoded(Protocol):
    """Labelled encoded images of a part of a data set, by their row."""

    threads: ClassVar[bool]
    """Whether several threads may read at a time."""

    @property
    def labels(self) -> Tensor:
        """int64 [N]"""

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class."""

    def __len__(self) -> int: ...

    def read(self, row: int) -> tuple[bytes | None, str]:
        """The bytes of an image, and its place for messages.

        Raises:
            UserError: it cannot be read.
        """


class Form(Protocol):
    """Brings encoded images to one form."""

    @property
    def resize(self) -> bool:
        """Whether images of other sizes are changed to it."""

    @property
    def max_pixels(self) -> int:
        """An image with more pixels is not decoded."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)"""

    def __call__(self, content: bytes | None, where: str) -> Array:
        """uint8 of that shape, of the bytes of an image and its place, which messages name.

        Raises:
            UserError: it cannot be decoded or brought to this form.
        """


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """A map-style data set of (image, label) pairs that decodes an image when it is asked for.

    Args:
        encoded: the images and their labels.
        form: decodes them.
    """

    encoded: Encoded
    form: Form

    @property
    def targets(self) -> Tensor:
        """The label of each image, int64 [N]."""
        return self.encoded.labels

    @property
    def classes(self) -> Sequence[str]:
        """One name per class."""
        return self.encoded.class_names

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        """The image, uint8 [channels, height, width], and its label."""
        return self.image(row), int(self.targets[row])

    @property
    def resizes(self) -> bool:
        """Whether images are not the whole pictures as they are."""
        return self.form.resize

    def picture(self, row: int) -> tuple[Picture, int]:
        """The whole picture, whose header has been read, and its label."""
        content, where = self.encoded.read(row)
        return Picture(content, where, self.form.shape[0], self.form.max_pixels), int(self.targets[row])

    def image(self, row: int) -> Tensor:
        """The image, uint8 [channels, height, width]."""
        return torch.from_numpy(np.array(self.form(*self.encoded.read(row))))

    def images(self, rows: Tensor) -> Tensor:
        """The images of some rows, int64 [n]: uint8 [n, channels, height, width]."""
        return torch.stack([self.image(row) for row in rows.tolist()])
