"""The memory format that a network can safely be trained in."""

import torch
from torch import nn

from smskd.models.zoo.projection import NARROW, NarrowProjection


def safe_memory_format(model: nn.Module, device: torch.device | str) -> torch.memory_format:
    """Channels-last, or contiguous where oneDNN would corrupt memory.

    On a CPU, oneDNN writes beyond its buffers in the weight gradient of a strided 1x1 convolution of few input channels
    in channels-last format; see :data:`smskd.models.zoo.projection.NARROW`. The zoo's networks avoid it by themselves.
    A strided convolution that is called as a function, without a module, is not found.

    Args:
        model: the network that is to be trained.
        device: on which it is trained.

    Returns:
        The format for the network and for its images.
    """
    if torch.device(device).type == "cpu" and any(map(_is_corrupting, model.modules())):
        return torch.contiguous_format
    return torch.channels_last


def _is_corrupting(layer: nn.Module) -> bool:
    return (
        isinstance(layer, nn.Conv2d)
        and not isinstance(layer, NarrowProjection)
        and layer.kernel_size == (1, 1)
        and max(layer.stride) > 1
        and layer.groups == 1
        and layer.in_channels < NARROW
    )
