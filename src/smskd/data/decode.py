"""The images and labels of a user's map-style data set, brought to one form."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from smskd.data.pil_images import as_bytes
from smskd.errors import UserError

_CHANNELS = (1, 3, 4)

LARGEST_VALUE = 1e6
"""Of an image of floats: squares of much larger ones overflow in a network, and no usual unit reaches it."""


def image_tensor(image: Any) -> Tensor:
    """An image as a tensor [channels, height, width].

    Args:
        image: a PIL image (gray stays gray, everything else becomes RGB, as a viewer displays it: 16 bits keep their
            upper 8, floats of 0 to 1 become bytes, transparency is laid over white, the EXIF orientation is applied
            where the image has one); a numpy array [height, width, channels], [height, width], or [channels, height,
            width] where the last axis can't be channels; a tensor [channels, height, width] or [height, width].

    Returns:
        uint8 where the image is made of bytes, float32 where it is made of floats.

    Raises:
        UserError: it is none of these; a PIL image has several frames or values of unknown range; a number is NaN,
            infinite or beyond 1e6.
    """
    if isinstance(image, Image.Image):
        return _of_array(np.asarray(as_bytes(image)))
    if isinstance(image, np.ndarray):
        return _of_array(image)
    if isinstance(image, Tensor):
        return _checked(image[None] if image.dim() == 2 else image)
    raise UserError(f"the image is a {type(image).__name__}; it has to be a tensor, a numpy array or a PIL image")


def label_index(label: Any, classes: int | None = None) -> int:
    """A label as an int.

    Args:
        label: an int, a numpy integer, or an integer tensor or array of one element.
        classes: number of classes; None: it is not known yet, and any label of 0 or more is accepted.

    Raises:
        UserError: it is not an integer, or out of range.
    """
    if isinstance(label, Tensor | np.ndarray | np.generic) and _elements(label) == 1:
        label = label.item()
    if isinstance(label, bool) or not isinstance(label, int):
        wanted = "of 0 or more" if classes is None else f"from 0 to {classes - 1}"
        raise UserError(f"the label is {label!r}; it has to be an integer {wanted}")
    if label >= 2**63:
        raise UserError(f"the label is {label}; labels count classes from 0")
    if label < 0 or (classes is not None and label >= classes):
        wanted = "labels are 0 or more" if classes is None else f"with {classes} classes labels are 0 to {classes - 1}"
        raise UserError(f"the label is {label}; {wanted}")
    return label


def _of_array(array: Any) -> Tensor:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3 and (array.shape[2] in _CHANNELS or array.shape[0] not in _CHANNELS):
        array = array.transpose(2, 0, 1)
    # A copy: the array may be read-only, or have the negative strides of a mirrored image.
    try:
        return _checked(torch.from_numpy(np.array(array, order="C")))
    except TypeError:
        raise UserError(f"the image is made of {array.dtype}; it has to be made of uint8 or floats") from None


def _checked(image: Tensor) -> Tensor:
    if image.dim() != 3 or not image.numel():
        raise UserError(f"the image has shape {list(image.shape)}; it has to be [channels, height, width]")
    if image.dtype == torch.uint8:
        return image
    if not image.is_floating_point():
        kind = str(image.dtype).removeprefix("torch.")
        raise UserError(
            f"the image is made of {kind}, whose range is unknown; it has to be made of uint8 or floats (16 bits: "
            "divide by 65535)"
        )
    image = image.to(torch.float32)
    if not _is_usable(image):
        raise UserError(f"the image has {_unusable(image)}; it has to have numbers between -1e6 and 1e6")
    return image


def _is_usable(image: Tensor) -> bool:
    values = image.reshape(-1)
    # The sum of squares is by far the fastest check, and almost all images pass it; NaN passes no comparison.
    if float(values.dot(values)) <= LARGEST_VALUE**2:
        return True
    return bool((values.abs() <= LARGEST_VALUE).all())


def _unusable(image: Tensor) -> str:
    """The first kind of value that cannot be trained on."""
    if bool(image.isnan().any()):
        return f"{int(image.isnan().sum())} NaN among {image.numel()} values"
    if bool(image.isinf().any()):
        return f"{int(image.isinf().sum())} infinite values among {image.numel()}"
    return f"the value {float(image.flatten()[image.abs().argmax()]):.3g}"


def _elements(value: Any) -> int:
    return value.numel() if isinstance(value, Tensor) else int(value.size)
