"""Whether there is room for a cache, known before anything is computed."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import torch

from smskd.config.sizes import in_bytes, in_words
from smskd.errors import UserError

_SHARE = 0.8
"""Of the memory that is free; training needs some as well."""


def check_limit(size: int, what: str, limit: str | int) -> None:
    """Raises UserError if a cache of this size is not allowed."""
    if size > in_bytes(limit):
        raise UserError(
            f"the teacher's cache would take {in_words(size)} for {what}, and its limit is "
            f"{in_words(in_bytes(limit))}: set cache_limit to {in_words(size * 1.01)} or turn the cache off"
        )


def memory_device(size: int, what: str, device: torch.device) -> torch.device:
    """The device on which a cache of this size fits: the one that is wanted, or else the CPU.

    Raises:
        UserError: it fits on neither.
    """
    places = [device] if device.type == "cpu" else [device, torch.device("cpu")]
    for place in places:
        if size <= _SHARE * free_memory(place):
            return place
    free = " and ".join(f"{in_words(free_memory(place))} on {place.type}" for place in places)
    raise UserError(
        f"the teacher's cache would take {in_words(size)} of memory for {what}, and free are {free}: "
        "keep it on disk, or turn it off"
    )


def check_disk(files: Iterable[tuple[Path, int]], what: str, folder: Path) -> None:
    """Raises UserError if the disk has no room for files of these sizes; what they take already counts as room."""
    missing = sum(max(0, size - _taken(path)) for path, size in files)
    free = shutil.disk_usage(_existing(folder)).free
    if missing > free:
        raise UserError(
            f"the teacher's cache needs {in_words(missing)} more on disk for {what}, and {folder} has "
            f"{in_words(free)} free: choose another cache folder, or turn the cache off"
        )


def free_memory(device: torch.device) -> int:
    """In bytes, as far as it can be known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return min(_machine_memory(), _allowed_memory())


def _machine_memory() -> int:
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _allowed_memory() -> int:
    """What a container allows, without regard to what is taken of it."""
    try:
        return int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):
        return _machine_memory()


def _taken(path: Path) -> int:
    return path.stat().st_blocks * 512 if path.exists() else 0


def _existing(folder: Path) -> Path:
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
