"""Memory that a step frees is kept for the next one, not given back to the system."""

import ctypes
import os
from contextlib import suppress

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of options in glibc's malloc.h."""

_KEPT = (256 * 2**20, 4 * 2**20 * ctypes.sizeof(ctypes.c_long))
"""Bytes of a block above which the system is asked for it each time: as many as older glibc takes come second."""

_NEVER = 2**31 - 1

_OWN_CHOICE = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_freed_memory(device: torch.device) -> bool:
    """Lets the process of a run on a CPU keep what it frees, from now on.

    By default glibc maps each large tensor anew, and the system clears it page by page: a quarter of the time of a
    step of a small network. Nothing is done on a GPU, with another C library, or where the environment already says how
    memory is allocated.

    Returns:
        Whether memory is kept.
    """
    if device.type != "cpu" or any(name in os.environ for name in _OWN_CHOICE):
        return False
    with suppress(AttributeError, OSError, TypeError):  # only glibc has it
        mallopt = ctypes.CDLL(None).mallopt
        return any(mallopt(_MMAP_THRESHOLD, size) for size in _KEPT) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))
    return False
