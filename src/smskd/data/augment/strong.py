"""The strongly augmented view of images that multi-level logit distillation uses beside the weak one.

The published transform (Jin-Ying/Multi-Level-Logit-Distillation, mdistiller/dataset/cifar100.py), after
RandAugment (Cubuk et al. 2020, arXiv 1909.13719) in the variant of FixMatch (Sohn et al. 2020, arXiv 2001.07685):
a crop and flip of its own, two operations drawn from fourteen with replacement, each with a strength drawn uniformly
from its range, and a gray-brown square of up to half the width (Cutout) on top.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from smskd.data.augment.crop_flip import Augmentation
from smskd.data.augment.draws import uniform
from smskd.data.augment.operations import APPLY, Apply, distorted
from smskd.data.augment.pipeline import cropped
from smskd.data.counter_rng import mix
from smskd.data.transfer import to_device
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
        index: int64 [N], number of each draw, on any device; on the CPU nothing waits for the device.

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
    key = strong_key(seed)
    index = index.cpu()
    variant = to_device(augmentation.variant(key, epoch, index), images.device)
    images = cropped(images, augmentation, variant, seed=key, epoch=epoch, index=index)
    draws = uniform(key, epoch, index, 2 * _ROUNDS + 3).unbind(1)
    for which, share in zip(draws[0 : 2 * _ROUNDS : 2], draws[1 : 2 * _ROUNDS : 2], strict=True):
        choice = (which * len(_CHOICES)).long()
        images = distorted(images, _APPLY, choice, _LOW[choice] + (_HIGH - _LOW)[choice] * share)
    return augmentation.plain().apply(_with_square(images, *draws[2 * _ROUNDS :]))


def strong_key(seed: int) -> int:
    """The seed of the strong view's draws."""
    return mix(_STRONG, seed)


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

    apply: Apply
    low: float = 0.0
    high: float = 1.0


_ENHANCED, _MOVED = (0.05, 0.95), (-0.3, 0.3)

OPERATIONS: Mapping[str, Operation] = {
    name: Operation(APPLY[name], *limits)
    for name, limits in {
        "autocontrast": (),
        "brightness": _ENHANCED,
        "color": _ENHANCED,
        "contrast": _ENHANCED,
        "equalize": (),
        "identity": (),
        "posterize": (4, 8),
        "rotate": (-30, 30),
        "sharpness": _ENHANCED,
        "shear_x": _MOVED,
        "shear_y": _MOVED,
        "solarize": (0, 256),
        "translate_x": _MOVED,
        "translate_y": _MOVED,
    }.items()
}
"""The fourteen published operations by name."""

_CHOICES = tuple(OPERATIONS.values())
_APPLY = tuple(operation.apply for operation in _CHOICES)
_LOW = torch.tensor([operation.low for operation in _CHOICES], dtype=torch.float64)
_HIGH = torch.tensor([operation.high for operation in _CHOICES], dtype=torch.float64)
