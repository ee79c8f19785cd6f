"""Automatic augmentation policies: TrivialAugment, RandAugment and AutoAugment.

Operations, ranges and numbers of strengths are the defaults of the transforms of these names in torchvision. Their
random numbers are hashes of (seed, epoch, sample), and the images of an operation are processed at once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from smskd.config.augmentation import PolicyConfig
from smskd.data.augment.draws import uniform
from smskd.data.augment.learned_policies import LEARNED
from smskd.data.augment.operations import APPLY, distorted

_BINS, _LEARNED_BINS = 31, 10
_OPERATIONS, _MAGNITUDE = 2, 9
_SHIFT = 150 / 331
"""Largest translation of learned policies and of RandAugment, in widths of the image."""

_NAMES = tuple(APPLY)
_IDENTITY = _NAMES.index("identity")
_SIGNED = ("shear_x", "shear_y", "shift_x", "shift_y", "rotate", "brightness", "color", "contrast", "sharpness")
_FACTORS = ("brightness", "color", "contrast", "sharpness")


@dataclass(frozen=True)
class Limits:
    """The largest strengths of a policy.

    Attributes:
        shear: as a share.
        shift: translation in pixels, (x, y).
        rotate: in degrees.
        factor: deviation from 1 of brightness, contrast, saturation and sharpness.
        bits: that posterising removes.
    """

    shear: float
    shift: tuple[float, float]
    rotate: float
    factor: float
    bits: int


def apply_policy(config: PolicyConfig, images: Tensor, *, key: int, epoch: int, index: Tensor) -> Tensor:
    """Images after a random policy.

    Args:
        config: of the policy.
        images: uint8 [N, channels, height, width], 1 or 3 channels.
        key: of the draws.
        epoch: of the run.
        index: [N] int64 number of each draw, on the CPU.
    """
    height, width = images.shape[2:]
    for choice, strength in _steps(config, (height, width), key, epoch, index):
        images = distorted(images, tuple(APPLY.values()), choice, strength)
    return images


def _steps(
    config: PolicyConfig, size: tuple[int, int], key: int, epoch: int, index: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Operation and strength of each image, one round after another."""
    height, width = size
    scaled = Limits(0.3, (_SHIFT * width, _SHIFT * height), 30.0, 0.9, 4)
    if config.name == "trivial_augment":
        wide = Limits(0.99, (32.0, 32.0), 135.0, 0.99, 6)
        which, bins, sign = uniform(key, epoch, index, 3).unbind(1)
        yield _strengths(_BINS, wide, _drawn(which), (bins * _BINS).long(), sign)
    elif config.name == "rand_augment":
        rounds = _OPERATIONS if config.operations is None else config.operations
        magnitude = _MAGNITUDE if config.magnitude is None else config.magnitude
        for draws in uniform(key, epoch, index, 2 * rounds).view(-1, rounds, 2).unbind(1):
            which, sign = draws.unbind(1)
            yield _strengths(_BINS, scaled, _drawn(which), torch.full_like(index, magnitude), sign)
    else:
        operations, probabilities, bins = _learned(config.learned_on or "imagenet")
        draws = uniform(key, epoch, index, 5)
        pair = (draws[:, 0] * len(operations)).long()
        for step in (0, 1):
            happens = draws[:, 1 + 2 * step] < probabilities[pair, step]
            choice = torch.where(happens, operations[pair, step], _IDENTITY)
            yield _strengths(_LEARNED_BINS, scaled, choice, bins[pair, step], draws[:, 2 + 2 * step])


_DRAWN = tuple(
    _NAMES.index(name)
    for name in (
        *("identity", "shear_x", "shear_y", "shift_x", "shift_y", "rotate", "brightness", "color"),
        *("contrast", "sharpness", "posterize", "solarize", "autocontrast", "equalize"),
    )
)
"""The fourteen operations of TrivialAugment and RandAugment."""


def _drawn(which: Tensor) -> Tensor:
    return torch.tensor(_DRAWN)[(which * len(_DRAWN)).long()]


def _strengths(bins: int, limits: Limits, choice: Tensor, place: Tensor, sign: Tensor) -> tuple[Tensor, Tensor]:
    values, signed, offset = _table(bins, limits)
    own = values[choice, place]
    negative = signed[choice] & (sign < 0.5)
    return choice, offset[choice] + torch.where(negative, -own, own)


@lru_cache(maxsize=32)
def _table(bins: int, limits: Limits) -> tuple[Tensor, Tensor, Tensor]:
    """Strengths [operations, bins], whether they get a random sign, and what is added to them, [operations]."""
    share = torch.linspace(0, 1, bins, dtype=torch.float64)
    values: Mapping[str, Tensor] = {
        "shear_x": share * limits.shear,
        "shear_y": share * limits.shear,
        # Whole pixels, as in torchvision; the addition keeps products that fall short of one by rounding.
        "shift_x": (share * limits.shift[0] + 1e-9).floor(),
        "shift_y": (share * limits.shift[1] + 1e-9).floor(),
        "rotate": share * limits.rotate,
        **dict.fromkeys(_FACTORS, share * limits.factor),
        "posterize": 8 - (torch.arange(bins) * limits.bits / (bins - 1)).round().double(),
        "solarize": 255 * (1 - share),
    }
    none = torch.zeros(bins, dtype=torch.float64)
    return (
        torch.stack([values.get(name, none) for name in _NAMES]),
        torch.tensor([name in _SIGNED for name in _NAMES]),
        torch.tensor([float(name in _FACTORS) for name in _NAMES], dtype=torch.float64),
    )


@lru_cache(maxsize=3)
def _learned(data_set: str) -> tuple[Tensor, Tensor, Tensor]:
    """Operations, probabilities and places of strengths, [25, 2] each."""
    pairs = LEARNED[data_set]
    operations = [[_NAMES.index(name) for name, _, _ in pair] for pair in pairs]
    probabilities = torch.tensor([[share for _, share, _ in pair] for pair in pairs], dtype=torch.float64)
    return torch.tensor(operations), probabilities, torch.tensor([[place for *_, place in pair] for pair in pairs])
