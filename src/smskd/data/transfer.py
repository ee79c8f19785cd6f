"""Copies to a device, and into a memory format."""

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device, without synchronising with the device."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def with_format_of(x: Tensor, other: Tensor) -> Tensor:
    """Images [N, channels, height, width], channels-last if the other ones are that and not contiguous as well."""
    last = other.is_contiguous(memory_format=torch.channels_last) and not other.is_contiguous()
    return x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
