"""Encoded images (PNG, JPEG and the like) decoded to bytes of one size, by several threads."""

import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from pydantic import PositiveInt

from smskd.errors import UserError

Array = npt.NDArray[np.uint8]
Item = TypeVar("Item")

Channels = Literal[1, 3]
"""3 for RGB, 1 for gray."""
ImageSize = tuple[PositiveInt, PositiveInt]
"""(height, width)"""

_CHUNK = 32
"""Images that a thread decodes at a time."""

_UNDECODABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""Exceptions of Pillow for contents that are no image, or a damaged one."""


@dataclass(frozen=True)
class ImageForm:
    """The form to which images are brought."""

    shape: tuple[int, int, int]
    """(channels, height, width)"""
    resize: bool
    """Whether an image of another size is resized; otherwise it is an error."""


def open_image(content: bytes | None, where: str) -> Image.Image:
    """An image whose header has been read, but no pixels yet.

    Args:
        content: the encoded image; None: there is none.
        where: its place, for messages.

    Raises:
        UserError: it cannot be decoded.
    """
    if content is None:
        raise UserError(f"{where}: the cell holds no bytes of an image")
    try:
        return Image.open(BytesIO(content))
    except _UNDECODABLE as error:
        raise _undecodable(where, error) from error


def decode_image(content: bytes | None, where: str, form: ImageForm) -> Array:
    """The pixels of an encoded image, uint8 [channels, height, width].

    Raises:
        UserError: it cannot be decoded, or has another size and is not to be resized.
    """
    channels, height, width = form.shape
    image = open_image(content, where)
    try:
        image = image.convert("RGB" if channels == 3 else "L")
    except _UNDECODABLE as error:
        raise _undecodable(where, error) from error
    if image.size != (width, height):
        if not form.resize:
            raise UserError(
                f"{where}: the image is {image.height}x{image.width}, the first training image {height}x{width}; "
                "give image_size: [height, width] to bring all to one size"
            )
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels.transpose(2, 0, 1) if channels == 3 else pixels[None]


def decode_all(groups: Iterable[Sequence[Item]], decode: Callable[[Item], None]) -> Iterator[int]:
    """Calls ``decode`` for every item, a group after the other, in several threads.

    Yields:
        The running number of each item that is done, from 0.
    """

    def decode_some(items: Sequence[Item]) -> int:
        for item in items:
            decode(item)
        return len(items)

    done = 0
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for group in groups:
            chunks = [group[begin : begin + _CHUNK] for begin in range(0, len(group), _CHUNK)]
            for count in threads.map(decode_some, chunks):
                yield from range(done, done + count)
                done += count


def _undecodable(where: str, error: Exception) -> UserError:
    reason = "no known image format" if isinstance(error, UnidentifiedImageError) else str(error)
    return UserError(f"{where}: the image cannot be decoded ({reason})")
