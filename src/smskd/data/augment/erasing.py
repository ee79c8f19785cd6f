"""Random erasing: a rectangle of an image is overwritten (Zhong et al. 2017, arXiv 1708.04896)."""

import math

import torch
from torch import Tensor

from smskd.config.augmentation import RandomErasingConfig
from smskd.data.augment.boxes import DRAWS, Boxes, covered, drawn_boxes
from smskd.data.augment.draws import uniform
from smskd.data.counter_rng import mix, mix_tensor
from smskd.data.transfer import to_device, with_format_of

_NOISE = 0x6E6F697365
"""Sets the hashes of noise apart from those of boxes."""


def erased(config: RandomErasingConfig, images: Tensor, *, key: int, epoch: int, index: Tensor) -> Tensor:
    """Images, some of them with an erased rectangle; where no drawn rectangle fits, nothing is erased.

    Args:
        config: probability and limits.
        images: float32 [N, channels, height, width], normalised.
        key: of the draws.
        epoch: of the run.
        index: [N] int64 number of each draw, on the CPU.

    Returns:
        float32 of the same shape and memory format.
    """
    draws = uniform(key, epoch, index, DRAWS + 1)
    height, width = images.shape[2:]
    # Their ratio is that of height to width, and that of boxes the inverse.
    ratio = (1 / config.ratio[1], 1 / config.ratio[0])
    boxes, found = drawn_boxes(draws[:, 1:], (height, width), config.scale, ratio)
    erases = found & (draws[:, 0] < config.probability)
    numbers = torch.stack([boxes.top, boxes.left, boxes.height * erases, boxes.width * erases])
    hidden = covered(Boxes(*to_device(numbers, images.device)), (height, width))
    if config.value == "zero":
        return with_format_of(images.masked_fill(hidden, 0.0), images)
    return with_format_of(torch.where(hidden, _noise(images, mix(_NOISE, key), epoch, index), images), images)


def _noise(images: Tensor, key: int, epoch: int, index: Tensor) -> Tensor:
    """Normally distributed values for each pixel and channel, by the transform of Box and Muller."""
    channels, height, width = images.shape[1:]
    own = to_device(mix_tensor(key, epoch, index), images.device)[:, None, None, None]
    pixels = torch.arange(channels * height * width, device=images.device).view(1, channels, height, width)
    hashes = mix_tensor(own, pixels)
    # 31 bits for the radius and 32 for the angle.
    radius = (-2 * (((hashes >> 32) + 1).to(torch.float32) / 2**31).log()).clamp_min(0).sqrt()
    return radius * ((hashes & (2**32 - 1)).to(torch.float32) * (2 * math.pi / 2**32)).cos()
