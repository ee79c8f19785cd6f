"""Checks that a cache fits in memory or on disk, before anything is computed."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import torch

from smskd.config.sizes import in_bytes, in_words
from smskd.data.memory import available_memory
from smskd.errors import UserError

_USABLE_SHARE = 0.8
"""Of the free memory; training needs some as well."""


def check_limit(size: int, content: str, limit: str | int) -> None:
    """Raises UserError if a cache of this size is larger than its limit.

    Args:
        size: in bytes.
        content: of the cache, for the message.
        limit: a size, such as ``16GB``.
    """
    if size > in_bytes(limit):
        raise UserError(
            f"the teacher's cache would take {in_words(size)} for {content}, and its limit is "
            f"{in_words(in_bytes(limit))}: set teacher.cache.limit to {in_words(size * 1.01)} or turn the cache off"
        )


def memory_device(size: int, content: str, device: torch.device) -> torch.device:
    """The device on which a cache fits: the preferred one, or else the CPU.

    Args:
        size: in bytes.
        content: of the cache, for the message.
        device: the preferred one.

    Raises:
        UserError: it fits on neither.
    """
    candidates = [device] if device.type == "cpu" else [device, torch.device("cpu")]
    for candidate in candidates:
        if size <= _USABLE_SHARE * free_memory(candidate):
            return candidate
    free = " and ".join(f"{in_words(free_memory(candidate))} on {candidate.type}" for candidate in candidates)
    raise UserError(
        f"the teacher's cache would take {in_words(size)} of memory for {content}; free: {free}. Keep it on disk, or "
        "turn it off"
    )


def check_disk(files: Iterable[tuple[Path, int]], content: str, folder: Path) -> None:
    """Raises UserError if the disk is too small for files of these sizes; the space that they occupy already counts.

    Args:
        files: paths and sizes in bytes.
        content: of the cache, for the message.
        folder: of the cache.
    """
    missing = sum(max(0, size - _occupied(path)) for path, size in files)
    free = shutil.disk_usage(_existing(folder)).free
    if missing > free:
        raise UserError(
            f"the teacher's cache needs {in_words(missing)} more on disk for {content}, and {folder} has "
            f"{in_words(free)} free: choose another cache folder, or turn the cache off"
        )


def free_memory(device: torch.device) -> int:
    """In bytes; on a CPU the smaller of the machine's available memory and the container's limit."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return available_memory()


def _occupied(path: Path) -> int:
    return path.stat().st_blocks * 512 if path.exists() else 0


def _existing(folder: Path) -> Path:
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
