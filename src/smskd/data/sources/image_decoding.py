"""Encoded images (PNG, JPEG and the like) decoded to bytes of one size, by several threads."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Annotated, Literal, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError
from pydantic import Field, PositiveInt

from smskd.data.pil_images import Array, as_bytes, displayed_size
from smskd.errors import UserError

Item = TypeVar("Item")

Channels = Literal[1, 3]
"""3 for RGB, 1 for gray."""
ImageSize = tuple[PositiveInt, PositiveInt]
"""(height, width)"""

MAX_PIXELS = 2**26
"""8192x8192: a few hundred megabytes while it is decoded."""
_MAX_PIXELS_OF_PILLOW = 178_956_970
MaxPixels = Annotated[int, Field(gt=0, le=_MAX_PIXELS_OF_PILLOW)]
"""The most pixels of an encoded image: a file of some kilobytes can decode to gigabytes."""

_BYTES_PER_PIXEL = 16
"""More than any format needs without compression."""
_HEADER = 2**20

_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
"""Formats of images. Pillow knows others, of which one starts another program (EPS)."""

_CHUNK = 32
"""Images that a thread decodes at a time."""


@dataclass(frozen=True)
class ImageForm:
    """The form to which images are brought."""

    shape: tuple[int, int, int]
    """(channels, height, width)"""
    resize: bool
    """Whether an image of another size is resized; otherwise it is an error."""
    max_pixels: int = MAX_PIXELS
    """An image with more pixels is not decoded."""

    def __call__(self, content: bytes | None, where: str) -> Array:
        """:func:`decode_image`"""
        return decode_image(content, where, self)


def open_image(content: bytes | None, where: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """An image whose header has been read, but no pixels yet.

    Args:
        content: the encoded image; None: there is none.
        where: its place, for messages.
        max_pixels: the most that are accepted.

    Raises:
        UserError: it is no image of a known format, or it has more pixels.
    """
    if content is None:
        raise UserError(f"{where}: the cell holds no bytes of an image")
    if len(content) > encoded_limit(max_pixels):
        raise UserError(f"{where}: the image has {len(content)} bytes, too many for {max_pixels} pixels (max_pixels)")
    try:
        image = Image.open(BytesIO(content), formats=_formats())
    except Image.DecompressionBombError:
        raise UserError(f"{where}: the image has more than {_MAX_PIXELS_OF_PILLOW} pixels") from None
    except Exception as error:  # of a decoder, about foreign bytes
        raise _undecodable(where, error) from error
    if image.width * image.height > max_pixels:
        raise UserError(
            f"{where}: the image is {image.height}x{image.width}, more than {max_pixels} pixels; raise max_pixels to "
            "decode it"
        )
    return image


def encoded_limit(max_pixels: int) -> int:
    """The most bytes that an image of so many pixels can reasonably have."""
    return _BYTES_PER_PIXEL * max_pixels + _HEADER


def size_of_image(content: bytes | None, where: str, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(height, width) of an encoded image as it is displayed.

    Raises:
        UserError: see :func:`open_image`.
    """
    return displayed_size(open_image(content, where, max_pixels))


def decode_image(content: bytes | None, where: str, form: ImageForm) -> Array:
    """The pixels of an encoded image, uint8 [channels, height, width].

    Raises:
        UserError: it cannot be decoded, or has another size and is not to be resized.
    """
    channels, height, width = form.shape
    image = displayed_image(content, where, channels, form.max_pixels)
    if image.size != (width, height):
        if not form.resize:
            raise UserError(
                f"{where}: the image is {image.height}x{image.width}, the first training image {height}x{width}; "
                "give image_size: [height, width] to bring all to one size"
            )
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return channels_first(image)


def displayed_image(
    content: bytes | None, where: str, channels: int | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """An encoded image as :func:`smskd.data.pil_images.as_bytes` makes it.

    Raises:
        UserError: it cannot be decoded.
    """
    encoded = open_image(content, where, max_pixels)
    try:
        return as_bytes(encoded, channels)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except MemoryError as error:
        raise UserError(f"{where}: there is not enough memory for {encoded.height}x{encoded.width} pixels") from error
    except Exception as error:  # of a decoder, about foreign bytes
        raise _undecodable(where, error) from error


def channels_first(image: Image.Image) -> Array:
    """The pixels of a gray or RGB image, uint8 [channels, height, width]."""
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


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


def _formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _undecodable(where: str, error: Exception) -> UserError:
    if isinstance(error, UnidentifiedImageError):
        return UserError(f"{where}: the image cannot be decoded (no known image format)")
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"{where}: the image cannot be decoded ({reason})")
