"""From an encoded image to the input of a network, as the test images of its run were brought to it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor

from smskd.config.data import DataConfig
from smskd.data.augment.crop_flip import Augmentation
from smskd.data.sources.image_decoding import MAX_PIXELS, ImageForm
from smskd.data.sources.imagenet import CentreCrop, default_shorter_side
from smskd.errors import UserError
from smskd.models.metadata import Facts
from smskd.runs.atomic_files import write_json

PREPROCESSING = "preprocessing.json"
"""Name of its file in an exported folder."""

Size = Annotated[int, Field(ge=1, le=2**20)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class Preprocessing:
    """From an encoded image to the input of a network.

    An image is decoded as a viewer displays it and resized, bilinear with antialiasing; its values are scaled to 0..1
    and normalised.

    Attributes:
        channels: 3 for RGB, 1 for gray.
        height, width: of the input, in pixels.
        mean, std: per channel, of values scaled to 0..1.
        shorter_side: to which the shorter side is resized before the centre is cropped, in pixels; None: the image is
            resized to height and width.
    """

    channels: Size
    height: Size
    width: Size
    mean: tuple[Finite, ...]
    std: tuple[Annotated[Finite, Field(gt=0)], ...]
    shorter_side: Size | None = None

    @classmethod
    def of(cls, facts: Facts, data: DataConfig | None) -> "Preprocessing | None":
        """The preprocessing of the images that a network learned from.

        Args:
            facts: of the network.
            data: of its run.

        Returns:
            None for a network of texts, and for images that the data set gave as floats: only its own transforms know
            what was done to them.
        """
        if facts.image_shape is None or facts.mean is None or facts.std is None:
            return None
        channels, height, width = facts.image_shape
        side = None if data is None else _shorter_side(data, height, width)
        return cls(channels, height, width, facts.mean, facts.std, side)

    @classmethod
    def read(cls, path: Path) -> "Preprocessing":
        """That of a file of :meth:`write`.

        Raises:
            UserError: it cannot be read, or is damaged.
        """
        try:
            found: Preprocessing = TypeAdapter(cls).validate_json(path.read_bytes())
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise UserError(f"{path} is damaged: {key + ': ' if key else ''}{first['msg']}") from None
        if not len(found.mean) == len(found.std) == found.channels:
            raise UserError(f"{path} is damaged: mean and std are not those of {found.channels} channels")
        return found

    def write(self, path: Path) -> None:
        """Writes it as JSON.

        Raises:
            UserError: the file cannot be written.
        """
        write_json(path, self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """The values as JSON has them."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        found: dict[str, Any] = json.loads(json.dumps(values))
        return found

    def pixels(self, content: bytes, where: str) -> Tensor:
        """The pixels of an encoded image, uint8 [channels, height, width].

        Args:
            content: of the file.
            where: its place, for messages.

        Raises:
            UserError: it cannot be decoded, or the network takes images of neither 1 nor 3 channels.
        """
        if self.channels not in (1, 3):
            raise UserError(f"the network takes images of {self.channels} channels, which no image file has")
        shape = (self.channels, self.height, self.width)
        if self.shorter_side is None:
            pixels = ImageForm(shape, resize=True, max_pixels=MAX_PIXELS)(content, where)
        else:
            pixels = CentreCrop(shape[1:], self.shorter_side)(content, where)
        return torch.from_numpy(pixels.copy())

    def normalised(self, pixels: Tensor) -> Tensor:
        """The input of the network, float32, of pixels uint8 [N, channels, height, width]."""
        return Augmentation(mean=self.mean, std=self.std, memory_format=torch.channels_last).plain().apply(pixels)


def _shorter_side(data: DataConfig, height: int, width: int) -> int | None:
    """The shorter side of test images before their centre is cropped; None where they are not cropped."""
    if data.source.name != "imagenet":
        return None
    side = data.source.options.get("shorter_side")
    return default_shorter_side((height, width)) if side is None else int(side)
