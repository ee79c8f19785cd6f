"""The machine that a run is computed on: its device, its memory, and its description in the run's folder."""

import ctypes
import gc
import os
import platform
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from smskd.errors import UserError


def device_of(name: str) -> torch.device:
    """The device of a recipe; ``auto`` takes a GPU if there is one.

    Raises:
        UserError: there is no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # of a meta tensor there is no value
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UserError(f"runtime.device: '{name}' is not available; choose from auto, cpu, cuda, mps") from None
    return device


def environment(device: torch.device, *, tf32: bool, processes: int = 1) -> dict[str, Any]:
    """Versions, machine, device, and the number of processes that train together."""
    return {
        "smskd": metadata.version("smskd"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "tf32": tf32,
        "processes": processes,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


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


_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


_FORGET_PEAK = "5"


def memory_in_use(device: torch.device) -> int | None:
    """Bytes: of tensors on a GPU, else of this process; None where nothing tells. What is free is given back first."""
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return _status("VmRSS")


def reset_peak_memory(device: torch.device) -> None:
    """:func:`peak_memory` counts from now, where the system can do that (a GPU, Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        _CLEAR.write_text(_FORGET_PEAK)


def peak_memory(device: torch.device) -> int | None:
    """The most bytes that were in use: by tensors on a GPU, else by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _status("VmHWM") or _maximum()


def _status(name: str) -> int | None:
    with suppress(OSError, ValueError):
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return 1024 * int(line.split()[1])
    return None


def _maximum() -> int | None:
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
