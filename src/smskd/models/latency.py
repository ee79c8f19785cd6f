"""Latency of a model, measured."""

import statistics
import time

import torch
from torch import Tensor, nn

from smskd.interfaces.inputs import Inputs, device_of, repeated
from smskd.models.calling import called
from smskd.models.dry_run import in_eval_mode

BATCH_SIZES = (1, 64)

_WARM_UP = 2
_REPETITIONS = 20
_SECONDS = 0.5
"""After this time no further pass begins, warm-up included."""


@torch.no_grad()
def latency(model: nn.Module, example: Inputs) -> dict[str, float | None]:
    """Milliseconds of a forward pass by batch size: the median of up to 20 repetitions, in eval mode.

    It takes about half a second for each batch size, or one pass where that takes longer.

    Args:
        model: on the example's device; it is left as it was.
        example: an image [1, channels, height, width], which is repeated to a batch in channels-last format, or
            samples of several tensors by name.

    Returns:
        The latency for each of :data:`BATCH_SIZES`; None where the model does not take so many images, or memory does
        not suffice for them.
    """
    return {str(size): _milliseconds(model, example, size) for size in BATCH_SIZES}


def _milliseconds(model: nn.Module, example: Inputs, size: int) -> float | None:
    try:
        return round(1000 * statistics.median(_seconds(model, example, size)), 3)
    except (MemoryError, RuntimeError, ValueError, TypeError, IndexError, AssertionError):
        return None  # the model has been trained and tested: its run is not lost for want of a latency


def _seconds(model: nn.Module, example: Inputs, size: int) -> list[float]:
    x = _batch(example, size)
    times: list[float] = []
    with in_eval_mode(model):
        while len(times) < _WARM_UP + _REPETITIONS and sum(times) < _SECONDS:
            started = time.perf_counter()
            called(model, model, x)
            _synchronize(device_of(x))
            times.append(time.perf_counter() - started)
    return times[_WARM_UP:] or times[-1:]


def _batch(example: Inputs, size: int) -> Inputs:
    if not isinstance(example, Tensor):
        return repeated(example, size)
    return example.expand(size, -1, -1, -1).contiguous(memory_format=torch.channels_last)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
