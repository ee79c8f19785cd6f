"""Random boxes within images, drawn by area and aspect ratio, of a whole batch at once."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from smskd.data.augment.draws import between, uniform

ATTEMPTS = 10
"""Draws of a box until one fits into the image, as torchvision has it."""

DRAWS = 2 * ATTEMPTS + 2
"""Random numbers that :func:`drawn_boxes` takes for an image."""


@dataclass(frozen=True)
class Boxes:
    """A box for each image, int64 [N] each, on the CPU."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


Size = tuple[int, int] | tuple[Tensor, Tensor]
"""(height, width) of all images, or int64 [N] each, of every image."""


def drawn_boxes(
    draws: Tensor,
    size: Size,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[Boxes, Tensor]:
    """Boxes whose area is uniform, and whose aspect ratio is log-uniform, anywhere in the image.

    Args:
        draws: [N, 22] float64, uniform in [0, 1), on the CPU.
        size: of the images.
        scale: smallest and largest share of the image's area.
        ratio: smallest and largest ratio of width to height.

    Returns:
        The first of 10 boxes that fits into the image, and whether one of them does, bool [N].
    """
    height, width = (torch.as_tensor(length).reshape(-1, 1) for length in size)
    areas = between(draws[:, :ATTEMPTS], *scale) * (height * width)
    aspects = between(draws[:, ATTEMPTS : 2 * ATTEMPTS], math.log(ratio[0]), math.log(ratio[1])).exp()
    widths, heights = (areas * aspects).sqrt().round().long(), (areas / aspects).sqrt().round().long()
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = fits.long().argmax(dim=1, keepdim=True)
    own_height, own_width = heights.gather(1, first)[:, 0], widths.gather(1, first)[:, 0]
    top = (draws[:, -2] * (height[:, 0] - own_height + 1)).long()
    left = (draws[:, -1] * (width[:, 0] - own_width + 1)).long()
    return Boxes(top, left, own_height, own_width), fits.any(dim=1)


def crop_boxes(
    key: int, epoch: int, index: Tensor, size: Size, scale: tuple[float, float], ratio: tuple[float, float]
) -> Boxes:
    """The boxes of random resized crops.

    Where no drawn box fits into an image, its box is as large as possible, at the centre, with the nearest ratio.

    Args:
        key: of the draws.
        epoch: of the run.
        index: [N] int64 number of each draw, on the CPU.
        size: of the images.
        scale: smallest and largest share of the image's area.
        ratio: smallest and largest ratio of width to height.
    """
    boxes, found = drawn_boxes(uniform(key, epoch, index, DRAWS), size, scale, ratio)
    height, width = (torch.as_tensor(length).double() for length in size)
    whole = (
        torch.where(width / height < ratio[0], (width / ratio[0]).round().clamp_min(1), height).long(),
        torch.where(width / height > ratio[1], (height * ratio[1]).round().clamp_min(1), width).long(),
    )
    centred = ((height.long() - whole[0]) // 2, (width.long() - whole[1]) // 2, *whole)
    drawn = (boxes.top, boxes.left, boxes.height, boxes.width)
    return Boxes(*(torch.where(found, one, other) for one, other in zip(drawn, centred, strict=True)))


def covered(boxes: Boxes, size: tuple[int, int]) -> Tensor:
    """Whether a pixel lies in the box of its image, bool [N, 1, height, width], on the boxes' device."""
    rows = _within(boxes.top, boxes.height, size[0])
    columns = _within(boxes.left, boxes.width, size[1])
    return rows[:, None, :, None] & columns[:, None, None, :]


def _within(begin: Tensor, length: Tensor, size: int) -> Tensor:
    place = torch.arange(size, device=begin.device)
    return (place >= begin[:, None]) & (place < (begin + length)[:, None])
