"""How many runs fit beside each other, found out from the memory that the first one takes."""

import os

import torch

from smskd.config.sizes import in_words
from smskd.teacher_cache.capacity import free_memory
from smskd.training.host import memory_in_use, peak_memory, reset_peak_memory

USABLE = 0.9
"""The share of the free memory that further runs may take."""

MOST_ON_A_GPU = 8
"""Runs beside each other where no number is asked for: on an H200, twelve small ones gave no more images a second than
eight."""


class MemoryMeter:
    """Measures what a run takes, from now on.

    Args:
        device: of the run.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = self._reserved()
        reset_peak_memory(device)
        if device.type == "cuda":
            self._free_before = torch.cuda.mem_get_info(device)[0]

    def used(self) -> int | None:
        """The most bytes that the run has taken so far; None where the system does not tell."""
        if self._device.type == "cuda":
            # The second one has what PyTorch does not know of: the libraries' own memory, and that of captured graphs.
            taken = self._free_before - torch.cuda.mem_get_info(self._device)[0]
            return max(torch.cuda.max_memory_reserved(self._device) - self._before, taken)
        peak = peak_memory(self._device)
        return None if peak is None else max(0, peak - self._before)

    def free(self) -> int:
        """Bytes that are free now."""
        return free_memory(self._device)

    def __str__(self) -> str:
        used = self.used()
        taken = "an unknown amount" if used is None else in_words(used)
        return f"the first one takes {taken} of memory, and {in_words(self.free())} are free"

    def _reserved(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.memory_reserved(self._device)
        return memory_in_use(self._device) or 0


def why_no_more(meter: MemoryMeter, fitting: int, device: torch.device) -> str:
    """Why no more runs than these are trained beside each other."""
    if fitting < _worth(device):
        return str(meter)
    return "more of them would not be faster" if device.type == "cuda" else "one for each core"


def _worth(device: torch.device) -> int:
    return MOST_ON_A_GPU if device.type == "cuda" else os.cpu_count() or 1


def most_at_once(used: int | None, free: int, device: torch.device, *, asked: int | None = None) -> int:
    """How many runs fit beside each other, the first one included.

    Args:
        used: bytes that the first one takes; None: unknown, then only what was asked for limits them.
        free: bytes that are free beside it.
        device: of the runs.
        asked: the most that were asked for; None: as many as are worth it.
    """
    worth = asked or _worth(device)
    if not used:
        return worth
    return min(worth, 1 + int(USABLE * free / used))
