"""The memory of the machine, compared with sizes that follow from a file or a data set before they are allocated."""

import os
from pathlib import Path

import torch
from torch import Tensor

from smskd.errors import UserError

_USABLE_SHARE = 0.9
"""Of the available memory; the rest is for the program itself."""


def available_memory() -> int:
    """In bytes: the smaller of the machine's available memory and the container's limit."""
    return min(_machine_memory(), _container_limit())


def require_memory(size: int, content: str, advice: str) -> None:
    """Refuses to hold more than the available memory.

    Args:
        size: in bytes.
        content: for the message, such as `the training images (100 of 3x32x32)`.
        advice: for the message, likewise.

    Raises:
        UserError: `the training images need 75.0 GiB of memory, and 20.1 GiB are available; take a smaller subset`.
    """
    available = available_memory()
    if size > _USABLE_SHARE * available:
        raise UserError(f"{content} need {_gib(size)} of memory, and {_gib(available)} are available; {advice}")


def allocate_images(count: int, shape: tuple[int, int, int], part: str) -> Tensor:
    """Room for images as bytes, uint8 [count, channels, height, width].

    Args:
        count: number of images.
        shape: (channels, height, width)
        part: of the data set, for the message.

    Raises:
        UserError: there is not enough memory for them.
    """
    channels, height, width = shape
    content = f"the {part} images ({count:,} of {channels}x{height}x{width})"
    advice = (
        "take a smaller image_size or data.subset, or a source that streams its images (data.loader.kind: streaming)"
    )
    size = count * channels * height * width
    require_memory(size, content, advice)
    try:
        return torch.empty((count, *shape), dtype=torch.uint8)
    except RuntimeError:  # a limit that the figures above do not include, such as that of ulimit
        raise UserError(f"{content} need {_gib(size)} of memory, which cannot be allocated; {advice}") from None


def _machine_memory() -> int:
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _container_limit() -> int:
    """The memory limit of the container, whether used or not."""
    try:
        return int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):
        return _machine_memory()


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
