"""The strongly augmented view of images that multi-level logit distillation uses beside the weak one.

The published transform (Jin-Ying/Multi-Level-Logit-Distillation, mdistiller/dataset/cifar100.py), after
RandAugment (Cubuk et al. 2020, arXiv 1909.13719) in the variant of FixMatch (Sohn et al. 2020, arXiv 2001.07685):
a crop and flip of its own, two operations drawn from fourteen with replacement, each with a strength drawn uniformly
from its range, and a gray-brown square of up to half the width (Cutout) on top.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from smskd.data.augment.crop_flip import Augmentation
from smskd.data.counter_rng import mix, mix_tensor
from smskd.errors import UserError

_STRONG = 0x7374726F6E67
"""Sets the hashes of the strong view apart from other hashes of (seed, epoch, sample)."""

_ROUNDS = 2
_LARGEST_SQUARE = 0.5
_COLOUR = (125, 123, 114)
_GRAY = (123,)


def strong_view(images: Tensor, augmentation: Augmentation, *, seed: int, epoch: int, index: Tensor) -> Tensor:
    """A strongly augmented view of each image.

    It follows from (seed, epoch, index) alone, independently of the weak view. No state of a random generator is
    read or changed.

    Args:
        images: uint8 [N, channels, height, width], 1 or 3 channels.
        augmentation: crop, flip and normalisation.
        seed: of the run.
        epoch: of the run.
        index: int64 [N], position of each sample in the data set, on the device of the images.

    Returns:
        float32 [N, channels, height, width], normalised, in the memory format of the augmentation.

    Raises:
        UserError: the images are floats, or have neither 1 nor 3 channels.
    """
    if images.dtype != torch.uint8:
        raise UserError(
            "the strong view is made of images of bytes, and the data set gives floats, the output of its own "
            "transforms; let it give PIL images or uint8, or choose methods that read no strong view"
        )
    if images.shape[1] not in (1, 3):
        raise UserError(f"the strong view is made of images of 1 or 3 channels, not {images.shape[1]}")
    key = mix(_STRONG, seed)
    images = augmentation.crop_and_flip(images, augmentation.variant(key, epoch, index))
    draws = _uniform(key, epoch, index.cpu(), 2 * _ROUNDS + 3).unbind(1)
    for which, strength in zip(draws[0 : 2 * _ROUNDS : 2], draws[1 : 2 * _ROUNDS : 2], strict=True):
        images = _distorted(images, (which * len(_CHOICES)).long(), strength)
    return augmentation.plain().apply(_with_square(images, *draws[2 * _ROUNDS :]))


def _uniform(key: int, epoch: int, index: Tensor, count: int) -> Tensor:
    """[N, count] float64, each uniform in [0, 1)."""
    return (mix_tensor(key, epoch, index[:, None], torch.arange(count)) >> 10).double() / 2**53


def _distorted(images: Tensor, choice: Tensor, strength: Tensor) -> Tensor:
    """Each image after the operation chosen for it; the images of an operation are processed at once."""
    order = choice.argsort(stable=True)
    counts = choice.bincount(minlength=len(_CHOICES)).tolist()
    place = order.to(images.device)
    groups = zip(_CHOICES, torch.split(images[place], counts), torch.split(strength[order], counts), strict=True)
    changed = [
        operation.apply(
            group, (operation.low + (operation.high - operation.low) * share).to(group.device, torch.float32)
        )
        for operation, group, share in groups
        if len(group)
    ]
    result = torch.empty_like(images)
    result[place] = torch.cat(changed)
    return result


def _with_square(images: Tensor, size: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Covers a square whose centre is anywhere in the image; its side is ``size`` / 2 of the width."""
    channels, height, width = images.shape[1:]
    side = size * _LARGEST_SQUARE * width
    rows, columns = (_covered(length, share * length, side) for length, share in ((height, y), (width, x)))
    square = (rows[:, None, :, None] & columns[:, None, None, :]).to(images.device)
    colour = torch.tensor(_COLOUR if channels == 3 else _GRAY, dtype=torch.uint8, device=images.device)
    return torch.where(square, colour[:, None, None], images)


def _covered(length: int, middle: Tensor, side: Tensor) -> Tensor:
    """[N, length], whether a row or column is covered, the end included, as PIL draws rectangles."""
    begin = (middle - side / 2).clamp_min(0).floor()
    place = torch.arange(length)
    return (place >= begin[:, None]) & (place <= (begin + side)[:, None])


@dataclass(frozen=True)
class Operation:
    """A distortion of images, uint8 [n, channels, height, width], by strengths [n] from a range."""

    apply: Callable[[Tensor, Tensor], Tensor]
    low: float = 0.0
    high: float = 1.0


def _blended(degenerate: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """Interpolates from a degenerate image (factor 0) to the image itself (factor 1), as PIL's ImageEnhance."""
    degenerate = degenerate.float()
    return (degenerate + _each(factor) * (images.float() - degenerate)).clamp(0, 255).to(torch.uint8)


def _gray(images: Tensor) -> Tensor:
    """[n, 1, height, width] brightness, rounded as PIL does (ITU-R 601-2, in 16 bits)."""
    if images.shape[1] == 1:
        return images
    red, green, blue = torch.split(images.int(), 1, dim=1)
    return (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16


def _brightness(images: Tensor, factor: Tensor) -> Tensor:
    return _blended(torch.zeros_like(images), images, factor)


def _color(images: Tensor, factor: Tensor) -> Tensor:
    return _blended(_gray(images), images, factor)


def _contrast(images: Tensor, factor: Tensor) -> Tensor:
    return _blended(_gray(images).float().mean((1, 2, 3), keepdim=True).add(0.5).floor(), images, factor)


def _sharpness(images: Tensor, factor: Tensor) -> Tensor:
    return _blended(F.adjust_sharpness(images, 0.0), images, factor)


def _posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keeps the given number of upper bits of each value."""
    unit = 2 ** (8 - _each(bits).long())
    return (images // unit * unit).to(torch.uint8)


def _solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Inverts the values at or above the threshold."""
    return torch.where(images >= _each(threshold), 255 - images, images)


def _rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Rotates the image counterclockwise about its centre."""
    height, width = images.shape[2:]
    radians = degrees.deg2rad()
    cos, sin = radians.cos(), radians.sin()
    x, y = width / 2, height / 2
    return _moved(images, cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y)


def _moved(
    images: Tensor,
    xx: Tensor | float = 1.0,
    xy: Tensor | float = 0.0,
    x0: Tensor | float = 0.0,
    yx: Tensor | float = 0.0,
    yy: Tensor | float = 1.0,
    y0: Tensor | float = 0.0,
) -> Tensor:
    """The pixel at (x, y) becomes the one at (xx x + xy y + x0, yx x + yy y + y0), black outside of the image.

    The coefficients and their order are those of PIL's affine transform.
    """
    coefficients = (xx, xy, x0, yx, yy, y0)
    xx, xy, x0, yx, yy, y0 = (c.view(-1, 1, 1) if isinstance(c, Tensor) else c for c in coefficients)
    height, width = images.shape[2:]
    x = (torch.arange(width, device=images.device) + 0.5).view(1, 1, width)
    y = (torch.arange(height, device=images.device) + 0.5).view(1, height, 1)
    column, row = (xx * x + xy * y + x0).floor().long(), (yx * x + yy * y + y0).floor().long()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    place = torch.where(inside, row * width + column, 0).flatten(1).unsqueeze(1)
    found = images.flatten(2).gather(2, place.expand(-1, images.shape[1], -1)).view(images.shape)
    return found * inside.unsqueeze(1)


def _each(value: Tensor) -> Tensor:
    """One number per image, to be broadcast over its pixels."""
    return value.view(-1, 1, 1, 1)


OPERATIONS: Mapping[str, Operation] = {
    "autocontrast": Operation(lambda images, _: F.autocontrast(images)),
    "brightness": Operation(_brightness, 0.05, 0.95),
    "color": Operation(_color, 0.05, 0.95),
    "contrast": Operation(_contrast, 0.05, 0.95),
    "equalize": Operation(lambda images, _: F.equalize(images)),
    "identity": Operation(lambda images, _: images),
    "posterize": Operation(_posterize, 4, 8),
    "rotate": Operation(_rotate, -30, 30),
    "sharpness": Operation(_sharpness, 0.05, 0.95),
    "shear_x": Operation(lambda images, share: _moved(images, xy=share), -0.3, 0.3),
    "shear_y": Operation(lambda images, share: _moved(images, yx=share), -0.3, 0.3),
    "solarize": Operation(_solarize, 0, 256),
    "translate_x": Operation(lambda images, share: _moved(images, x0=share * images.shape[3]), -0.3, 0.3),
    "translate_y": Operation(lambda images, share: _moved(images, y0=share * images.shape[2]), -0.3, 0.3),
}
"""The fourteen published operations by name."""

_CHOICES = tuple(OPERATIONS.values())
