"""Where the time of a step goes, measured in a few steps of each stage."""

import statistics
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

PARTS = ("data", "teacher", "reference", "student_forward", "losses", "backward", "optimizer", "other")
"""Of a step; one that never came up has 0 milliseconds."""

REPLAYED = "replayed"
"""The part of a step that was recorded; what is told is how it divides into the parts that were recorded in it."""

_FIRST, _COUNT = 4, 10
"""Steps to time, where an epoch has so many: the first ones are slower."""

_GROUPS = 2
"""Of steps for which the frozen networks look ahead together: so many are timed, after a first one."""

_NOTHING = nullcontext()


class HasLabels(Protocol):
    """A batch, of which only the number of labels is read."""

    @property
    def y(self) -> Tensor: ...


B = TypeVar("B", bound=HasLabels)


def sampled_steps(steps: int, ahead: int = 1) -> range:
    """Which steps of an epoch to time, counted from 0.

    Args:
        steps: of the epoch.
        ahead: for how many of them the frozen networks look ahead together; these are timed all or none, where the
            epoch has so many.
    """
    first, count = (_FIRST, _COUNT) if ahead == 1 else (ahead, _GROUPS * ahead)
    return range(min(first, steps - 1), min(first + count, steps))


@dataclass(frozen=True)
class Cost:
    """What a step costs.

    Attributes:
        milliseconds: of each part, the median over the timed steps; on a GPU their mean, since there the teacher works
            for several steps at once.
        step_milliseconds: of the whole step, likewise.
        images_per_second: likewise.
    """

    milliseconds: dict[str, float]
    step_milliseconds: float
    images_per_second: float


class Clock:
    """Times the parts of some steps. Between them it does nothing, and it never changes what is computed.

    A part within another is not counted in that one, and what is in no part is ``other``: the parts' times add up to
    the step's. On a GPU, events in its stream are timed: nothing waits.

    Args:
        device: where the steps run.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        self._open: list[str] = []
        self._marks: list[tuple[str, Any]] | None = None
        self._captured: list[tuple[str, Any]] = []
        self._external = False
        self._typical = statistics.fmean if self._device.type == "cuda" else statistics.median
        self._timed: list[tuple[int, list[tuple[str, Any]]]] = []

    def part(self, name: str) -> AbstractContextManager[None]:
        """The time that is spent within belongs to this part."""
        return _NOTHING if self._marks is None else self._within(name)

    def steps(self, batches: Iterable[B], sampled: Collection[int] = ()) -> Iterator[B]:
        """The batches; what the caller does with one before asking for the next is a step.

        Args:
            batches: one a step. The time until one is there belongs to the part ``data``.
            sampled: numbers of the steps, from 0, that are timed.
        """
        iterator = iter(batches)
        number = 0
        try:
            while True:
                self._marks = [] if number in sampled else None
                self._mark("")
                with self.part("data"):
                    batch = next(iterator, None)
                if batch is None:
                    return
                yield batch
                if self._marks is not None:
                    self._mark("other")
                    self._timed.append((len(batch.y), self._marks))
                number += 1
        finally:
            self._marks = None
            self._open.clear()

    def cost(self, last: int = 0) -> Cost | None:
        """Of the steps that were timed so far, or of so many last ones; None if there were none."""
        if not self._timed:
            return None
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        timed = self._timed[-last:]
        within = _by_part(self._captured)
        steps = [_divided(_by_part(marks), within) for _, marks in timed]
        totals = [max(sum(step.values()), 1e-6) for step in steps]
        typical = self._typical
        samples = typical([samples for samples, _ in timed])
        return Cost(
            {part: round(typical([step.get(part, 0.0) for step in steps]), 3) for part in PARTS},
            round(typical(totals), 3),
            round(1000 * samples / typical(totals), 1),
        )

    @contextmanager
    def capturing(self, timed: bool) -> Iterator[None]:
        """Within, operations are captured by the device, to be replayed later.

        Events of a capture that fails are dropped: they were never recorded by the device, which refuses to tell their
        times.

        Args:
            timed: whether the parts of the captured step are timed in its replays.
        """
        timed = timed and torch.version.hip is None  # whose graphs do not time events
        before, self._marks, self._external = self._marks, [] if timed else None, True
        self._captured = []
        try:
            self._mark("")
            yield
            self._mark("other")
            self._captured = self._marks or []
        finally:
            self._marks, self._external = before, False

    def reset(self) -> None:
        """Drops the steps that were timed so far."""
        self._timed.clear()

    @contextmanager
    def _within(self, name: str) -> Iterator[None]:
        self._mark(self._current())
        self._open.append(name)
        try:
            yield
        finally:
            self._mark(self._current())
            self._open.pop()

    def _current(self) -> str:
        return self._open[-1] if self._open else "other"

    def _mark(self, part: str) -> None:
        """The part that has gone on until now."""
        if self._marks is not None:
            self._marks.append((part, self._now()))

    def _now(self) -> Any:
        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True, external=self._external)  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(self._device))
            return event
        if self._device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter()


def _by_part(marks: list[tuple[str, Any]]) -> dict[str, float]:
    times: dict[str, float] = {}
    for (_, before), (part, now) in pairwise(marks):
        spent = before.elapsed_time(now) if isinstance(now, torch.cuda.Event) else 1000 * (now - before)
        times[part] = times.get(part, 0.0) + spent
    return times


def _divided(step: dict[str, float], within: dict[str, float]) -> dict[str, float]:
    """The times of a step, of which what was replayed is divided as it was in the last replay."""
    replayed, whole = step.pop(REPLAYED, 0.0), sum(within.values())
    for part, spent in within.items() if whole else ():
        step[part] = step.get(part, 0.0) + replayed * spent / whole
    return step if whole else {**step, "other": step.get("other", 0.0) + replayed}


IDLE = Clock()
"""Never times anything."""
