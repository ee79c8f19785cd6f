"""Random brightness, contrast, saturation and hue, in random order, with a strength for each image."""

import torch
from torch import Tensor

from smskd.config.augmentation import ColorJitterConfig
from smskd.data.augment.draws import between, uniform
from smskd.data.augment.operations import APPLY, distorted


def color_jitter(config: ColorJitterConfig, images: Tensor, *, key: int, epoch: int, index: Tensor) -> Tensor:
    """Images after a random change of their colours, as ``ColorJitter`` of torchvision changes them.

    Args:
        config: its limits.
        images: uint8 [N, channels, height, width]; saturation and hue need 3 channels.
        key: of the draws.
        epoch: of the run.
        index: [N] int64 number of each draw, on the CPU.
    """
    limits = {
        "brightness": (max(0.0, 1 - config.brightness), 1 + config.brightness),
        "contrast": (max(0.0, 1 - config.contrast), 1 + config.contrast),
        "color": (max(0.0, 1 - config.saturation), 1 + config.saturation),
        "hue": (-config.hue, config.hue),
    }
    limits = {name: ends for name, ends in limits.items() if ends[0] < ends[1]}
    count = len(limits)
    shares, places = torch.split(uniform(key, epoch, index, 2 * count), count, dim=1)
    order = places.argsort(dim=1)
    strengths = torch.stack([between(shares[:, n], *ends) for n, ends in enumerate(limits.values())], dim=1)
    operations = [APPLY[name] for name in limits]
    for choice in order.unbind(1):
        images = distorted(images, operations, choice, strengths.gather(1, choice[:, None])[:, 0])
    return images
