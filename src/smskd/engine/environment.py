"""What a run ran on, so that its numbers can be understood later."""

import os
import platform
from importlib import metadata
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
        raise UserError(f"device: '{name}' is not here; choose from auto, cpu, cuda, mps") from None
    return device


def allow_tf32(allowed: bool) -> None:
    """Whether a GPU may round the factors of float32 products to TF32."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def repeat_sums() -> None:
    """A GPU's convolutions add up in the same order each time, so that a run which is resumed is exact."""
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, machine and device."""
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
        "tf32": bool(torch.backends.cuda.matmul.allow_tf32),
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
