"""What a user's map-style data set may give, brought to one form."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from smskd.errors import UserError

_CHANNELS = (1, 3, 4)


def image_tensor(image: Any) -> Tensor:
    """A picture as tensor [channels, height, width].

    Args:
        image: a PIL picture (gray stays gray, everything else becomes RGB); a numpy array [height, width,
            channels], [height, width], or [channels, height, width] where the last axis can't be channels;
            a tensor [channels, height, width] or [height, width].

    Returns:
        uint8 where the picture is made of bytes, float32 where it is made of floats.

    Raises:
        UserError: it is none of these.
    """
    if isinstance(image, Image.Image):
        gray = image.mode in ("L", "1")
        return _of_array(np.array(image.convert("L" if gray else "RGB")))
    if isinstance(image, np.ndarray):
        return _of_array(image)
    if isinstance(image, Tensor):
        return _checked(image[None] if image.dim() == 2 else image)
    raise UserError(f"the image is a {type(image).__name__}; it has to be a tensor, a numpy array or a PIL picture")


def label_index(label: Any, classes: int) -> int:
    """A label as an int from 0 to ``classes - 1``.

    Args:
        label: an int, a numpy integer, or an integer tensor or array of one element.
        classes: number of classes.

    Raises:
        UserError: it is no integer, or out of range.
    """
    if isinstance(label, Tensor | np.ndarray | np.generic) and _elements(label) == 1:
        label = label.item()
    if isinstance(label, bool) or not isinstance(label, int):
        raise UserError(f"the label is {label!r}; it has to be an integer from 0 to {classes - 1}")
    if not 0 <= label < classes:
        raise UserError(f"the label is {label}; with {classes} classes labels are 0 to {classes - 1}")
    return label


def _of_array(array: Any) -> Tensor:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3 and (array.shape[2] in _CHANNELS or array.shape[0] not in _CHANNELS):
        array = array.transpose(2, 0, 1)
    # A copy: the array may be read-only, or have the negative strides of a mirrored picture.
    return _checked(torch.from_numpy(np.array(array, order="C")))


def _checked(image: Tensor) -> Tensor:
    if image.dim() != 3:
        raise UserError(f"the image has shape {list(image.shape)}; it has to be [channels, height, width]")
    if image.dtype == torch.uint8:
        return image
    if not image.is_floating_point():
        kind = str(image.dtype).removeprefix("torch.")
        raise UserError(f"the image is made of {kind}; it has to be made of uint8 or floats")
    return image.to(torch.float32)


def _elements(value: Any) -> int:
    return value.numel() if isinstance(value, Tensor) else int(value.size)
