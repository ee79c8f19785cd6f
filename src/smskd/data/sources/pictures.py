"""Encoded pictures of whatever size, out of which boxes are cropped and resized: decoded once, as small as suffices.

A picture that is a plain JPEG is decoded at 1/2, 1/4 or 1/8 of its size where a box is then still at least as large as
the result; libjpeg scales while it decodes. Otherwise the pixels are those of Pillow, with or without simplejpeg, and
resizing differs from that of
Pillow by rounding: by 1 at most.
"""

from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from smskd.data.pil_images import Array, as_bytes, displayed_size
from smskd.data.sources.image_decoding import MAX_PIXELS, displayed_image, open_image
from smskd.errors import UserError

Box = tuple[int, int, int, int]
"""(top, left, height, width)"""

_ORIENTATION = 0x0112
_REDUCTIONS = (8, 4, 2)


class Picture:
    """An encoded picture, of which only the header has been read.

    Args:
        content: its bytes.
        where: its place, which messages name.
        channels: 3 for RGB, 1 for gray.
        max_pixels: one with more pixels is refused.

    Raises:
        UserError: it is no picture.

    Attributes:
        size: (height, width) as it is displayed.
    """

    def __init__(self, content: bytes | None, where: str, channels: int = 3, max_pixels: int = MAX_PIXELS) -> None:
        self._content, self._where, self._channels, self._max_pixels = content, where, channels, max_pixels
        self._image = open_image(content, where, max_pixels)
        self.size = displayed_size(self._image)

    def crops(self, boxes: Sequence[Box], size: tuple[int, int]) -> Tensor:
        """Boxes of the picture, resized, bilinear with antialiasing.

        It is decoded once for all boxes, unless they allow different scales: a crop does not depend on the others.

        Args:
            boxes: within the picture as it is displayed.
            size: (height, width) of the results.

        Returns:
            uint8 [boxes, channels, height, width].

        Raises:
            UserError: it cannot be decoded.
        """
        plain = self._is_plain_jpeg()
        reductions = [_reduction(box, size) if plain else 1 for box in boxes]
        found: dict[int, Tensor] = {}
        for reduction in dict.fromkeys(reductions):
            places = [place for place, own in enumerate(reductions) if own == reduction]
            own_boxes = [boxes[place] for place in places]
            if reduction > 1:
                crops = self._reduced(own_boxes, size, reduction)
            else:
                pixels = _decoded_jpeg(self._content) if plain else None
                crops = _cropped(self._displayed() if pixels is None else pixels, own_boxes, size)
            found |= dict(zip(places, crops, strict=True))
        return torch.stack([found[place] for place in range(len(boxes))])

    def _is_plain_jpeg(self) -> bool:
        image = self._image
        if image.format != "JPEG" or image.mode != "RGB" or self._channels != 3:
            return False
        try:
            return image.getexif().get(_ORIENTATION) in (None, 0, 1)
        except Exception:  # damaged EXIF data
            return False

    def _displayed(self) -> Tensor:
        image = displayed_image(self._content, self._where, self._channels, self._max_pixels)
        pixels: Array = np.asarray(image)
        return torch.from_numpy(np.array(pixels[:, :, None] if pixels.ndim == 2 else pixels)).permute(2, 0, 1)

    def _reduced(self, boxes: Sequence[Box], size: tuple[int, int], reduction: int) -> Tensor:
        height, width = self.size
        image = open_image(self._content, self._where, self._max_pixels)
        image.draft("RGB", (width // reduction, height // reduction))
        try:
            small = as_bytes(image, self._channels)
        except MemoryError as error:
            raise UserError(f"{self._where}: there is not enough memory for {height}x{width} pixels") from error
        except Exception as error:  # of a decoder, about foreign bytes
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{self._where}: the image cannot be decoded ({reason})") from error
        scale = 1 / round(width / small.width)  # exactly; a last column may be one of half a square
        found = [
            small.resize(
                (size[1], size[0]),
                Image.Resampling.BILINEAR,
                box=(left * scale, top * scale, (left + w) * scale, (top + h) * scale),
            )
            for top, left, h, w in boxes
        ]
        return torch.stack([torch.from_numpy(np.array(one)).permute(2, 0, 1) for one in found])


def _reduction(box: Box, size: tuple[int, int]) -> int:
    """The largest reduction at which a box is not smaller than its result."""
    least = min(box[2] / size[0], box[3] / size[1])
    return next((reduction for reduction in _REDUCTIONS if reduction <= least), 1)


@cache
def _decoder() -> Callable[[bytes], Array] | None:
    """That of simplejpeg, where it is installed; it takes two thirds of Pillow's time."""
    if find_spec("simplejpeg") is None:
        return None
    from simplejpeg import decode_jpeg

    return decode_jpeg  # type: ignore[no-any-return]


def _decoded_jpeg(content: bytes | None) -> Tensor | None:
    """uint8 [3, height, width]; None where simplejpeg is missing or cannot: then Pillow can, or tells why not."""
    decode = _decoder()
    if decode is None:
        return None
    try:
        return torch.from_numpy(decode(content or b"")).permute(2, 0, 1)
    except ValueError:  # damaged, if only a little
        return None


def _cropped(pixels: Tensor, boxes: Sequence[Box], size: tuple[int, int]) -> Tensor:
    found = [
        F.interpolate(
            pixels[None, :, top : top + height, left : left + width], size=size, mode="bilinear", antialias=True
        )
        for top, left, height, width in boxes
    ]
    return found[0] if len(found) == 1 else torch.cat(found)
