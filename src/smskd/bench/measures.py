"""The measures of a timed loop."""

from dataclasses import asdict
from typing import Any

from smskd.timing import Clock, Cost

WARM_UP = 2
"""Steps at the start of each turn that are not timed: caches are cold, and workers have only just started."""


def measures(clock: Clock, memory: int | None) -> dict[str, Any]:
    """The durations measured by a clock, and the peak memory.

    Args:
        clock: has timed at least one step.
        memory: bytes; None where the platform does not report it.

    Returns:
        ``images_per_second``, ``step_milliseconds``, ``milliseconds`` by part and ``peak_memory_bytes``.
    """
    return {**asdict(_cost(clock)), "peak_memory_bytes": memory}


def speed(clock: Clock, steps: int) -> float:
    """Images per second in the last timed steps."""
    return _cost(clock, steps).images_per_second


def increase(peak: int | None, before: int | None) -> int | None:
    """Bytes by which a peak exceeds the memory in use before; None where either is unknown."""
    return None if peak is None or before is None else max(0, peak - before)


def _cost(clock: Clock, last: int = 0) -> Cost:
    cost = clock.cost(last)
    assert isinstance(cost, Cost)
    return cost
