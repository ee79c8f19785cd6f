"""Crops a box out of each image and resizes it, a whole batch at once, on any device.

Bilinear with antialiasing, as PIL and torchvision resize: an output pixel is a weighted mean of the input pixels around
its centre, with a triangular weight as wide as the reduction. Rows and columns are weighted one after the other, each
as a batch of matrix products.
"""

import torch
from torch import Tensor

from smskd.data.augment.boxes import Boxes
from smskd.data.transfer import to_device


def resized_crop(images: Tensor, boxes: Boxes, size: tuple[int, int]) -> Tensor:
    """The box of each image, resized.

    Args:
        images: uint8 [N, channels, height, width].
        boxes: one for each image, on the CPU.
        size: (height, width) of the result.

    Returns:
        uint8 [N, channels, *size].
    """
    height, width = images.shape[2:]
    rows = to_device(_weights(boxes.top, boxes.height, height, size[0]), images.device)
    columns = to_device(_weights(boxes.left, boxes.width, width, size[1]), images.device)
    resized = rows[:, None] @ (images.float() @ columns[:, None].transpose(2, 3))
    return resized.round().clamp(0, 255).to(torch.uint8)


def _weights(begin: Tensor, length: Tensor, inputs: int, outputs: int) -> Tensor:
    """The weight of each input pixel in each output pixel, float32 [N, outputs, inputs]; each row sums to 1."""
    scale = length.double() / outputs
    centre = (torch.arange(outputs) + 0.5) * scale[:, None]
    place = torch.arange(inputs) - begin[:, None]
    reach = scale.clamp_min(1.0)[:, None, None]
    distance = (place[:, None, :] + 0.5 - centre[:, :, None]).abs() / reach
    inside = (place >= 0) & (place < length[:, None])
    weights = (1 - distance).clamp_min(0) * inside[:, None, :]
    return (weights / weights.sum(dim=2, keepdim=True)).float()
