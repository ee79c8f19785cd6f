"""How long a model takes for its predictions."""

import statistics
import time

import torch
from torch import Tensor, nn

from smskd.engine.evaluate import in_eval_mode

BATCH_SIZES = (1, 64)

_WARM_UP, _REPETITIONS, _SECONDS = 2, 20, 0.5


def latency(model: nn.Module, example: Tensor) -> dict[str, float | None]:
    """Milliseconds for a batch, by the number of its pictures: the median of some repetitions, in eval mode.

    Args:
        model: on the example's device; it is left as it was.
        example: a picture [1, channels, height, width].

    Returns:
        None for a batch for which a GPU's memory is too small.
    """
    return {str(size): _milliseconds(model, example, size) for size in BATCH_SIZES}


@torch.no_grad()
def _milliseconds(model: nn.Module, example: Tensor, size: int) -> float | None:
    try:
        return round(1000 * statistics.median(_seconds(model, example, size)), 3)
    except torch.OutOfMemoryError:
        return None


def _seconds(model: nn.Module, example: Tensor, size: int) -> list[float]:
    x = example.expand(size, -1, -1, -1).contiguous(memory_format=torch.channels_last)
    times: list[float] = []
    with in_eval_mode(model):
        for _ in range(_WARM_UP):
            model(x)
        _wait(x.device)
        while len(times) < _REPETITIONS and (len(times) < 3 or sum(times) < _SECONDS):
            started = time.perf_counter()
            model(x)
            _wait(x.device)
            times.append(time.perf_counter() - started)
    return times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
