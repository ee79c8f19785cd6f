"""Pillow's images, of every mode, as bytes: gray or RGB, upright, without transparency.

16-bit images keep their upper 8 bits, as Pillow does with 16-bit colour. What has no known range, or several frames, is
refused: a guess could make a data set black or white, and training would not show it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from smskd.errors import UserError

Array = npt.NDArray[np.uint8]

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The change that undoes each EXIF orientation."""

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262
"""Tags of TIFF."""
_WHITE_IS_ZERO = 0


def is_gray(image: Image.Image) -> bool:
    """Whether an image has one channel, transparency apart."""
    return image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16")


def displayed_size(image: Image.Image) -> tuple[int, int]:
    """(height, width) of the image as it is displayed, that is after its EXIF orientation is applied."""
    height, width = image.height, image.width
    return (width, height) if _orientation(image) >= 5 else (height, width)


def as_bytes(image: Image.Image, channels: int | None = None) -> Image.Image:
    """The image with 8 bits a channel, gray (``L``) or ``RGB``, as a viewer displays it.

    Transparent pixels are laid over white, and the EXIF orientation is applied.

    Args:
        image: of any mode.
        channels: 1 for gray, 3 for RGB; default: gray where the image is gray, else RGB.

    Raises:
        UserError: it has several frames, values of unknown range, or colours that Pillow cannot convert.
    """
    if 0 in image.size:
        raise UserError(f"the image is {image.height}x{image.width}")
    if getattr(image, "is_animated", False) and image.format != "MPO":  # the further frames of MPO are previews
        raise UserError(f"the image has {getattr(image, 'n_frames', 2)} frames; store the wanted one as an image")
    mode = "L" if channels == 1 or (channels is None and is_gray(image)) else "RGB"
    orientation = _orientation(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray(_scaled(image))
    elif image.has_transparency_data:
        image = _over_white(image)
    try:
        image = image.convert(mode)
    except ValueError as error:
        raise UserError(f"the image has the mode {image.mode}, which cannot be converted to {mode}: {error}") from None
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # Pillow converts it to LA alone
        image = image.convert("LA")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # EXIF data are foreign bytes; viewers ignore damaged ones too
        return 1


def _scaled(image: Image.Image) -> Array:
    """The values of more than 8 bits as bytes."""
    values = np.asarray(image)
    if image.mode == "F":
        return _of_floats(values)
    bits = 16
    if image.format == "TIFF":
        bits = _tiff_bits(image)
    elif image.mode == "I" and image.format not in ("PNG", "PPM"):
        raise UserError("the image has 32-bit integers, whose range is unknown; store 8 or 16 bits a channel")
    highest = 2**bits - 1
    if int(values.min()) < 0 or int(values.max()) > highest:
        found = f"from {values.min()} to {values.max()}"
        raise UserError(f"the image has values {found}; {bits} bits reach from 0 to {highest}")
    shifted = (values >> (bits - 8)).astype(np.uint8)
    return 255 - shifted if _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO else shifted


def _of_floats(values: Any) -> Array:
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise UserError(
            f"the image has floats from {values.min()} to {values.max()}; they have to be from 0 to 1, or bytes"
        )
    return np.asarray((values * 255).round().astype(np.uint8))


def _tiff_bits(image: Image.Image) -> int:
    bits = _tag(image, _BITS_PER_SAMPLE)
    if image.mode == "I" or bits not in (12, 16):
        raise UserError(f"the TIFF image has {bits} bits a sample, signed or not; store 8 or 16 unsigned bits")
    return int(bits)


def _tag(image: Image.Image, number: int) -> Any:
    """The first value of a TIFF tag; None for images of other formats."""
    found = getattr(image, "tag_v2", {}).get(number)
    return found[0] if isinstance(found, tuple) and found else found
