"""Encoded images that are read and decoded one at a time, whenever they are needed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from smskd.data.pil_images import Array


class Encoded(Protocol):
    """Encoded images by their row."""

    def __len__(self) -> int: ...

    def read(self, row: int) -> tuple[bytes | None, str]:
        """The bytes of an image, and its place for messages."""


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """A map-style data set of (image, label) pairs that decodes an image when it is asked for.

    Args:
        encoded: the images.
        targets: the label of each.
        classes: one name per class.
        decode: makes uint8 [channels, height, width] of the bytes of an image and its place.
    """

    encoded: Encoded
    targets: Tensor
    """int64 [N]"""
    classes: Sequence[str]
    decode: Callable[[bytes | None, str], Array]

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        """The image, uint8 [channels, height, width], and its label."""
        return self.image(row), int(self.targets[row])

    def image(self, row: int) -> Tensor:
        """The image, uint8 [channels, height, width]."""
        content, where = self.encoded.read(row)
        return torch.from_numpy(np.array(self.decode(content, where)))

    def images(self, rows: Tensor) -> Tensor:
        """The images of some rows, int64 [n]: uint8 [n, channels, height, width]."""
        return torch.stack([self.image(row) for row in rows.tolist()])
