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

SEPARATE = ("data", "teacher", "reference", "student_forward", "losses", "backward", "optimizer", "other")
COMPILED = ("data", "forward", "backward", "optimizer", "other")
"""The parts of a step whose objective is compiled: what happens inside of that cannot be told apart."""

_FIRST, _COUNT = 4, 10
"""Steps to time, where an epoch has so many: the first ones are slower."""

_NOTHING = nullcontext()


class HasLabels(Protocol):
    """A batch, of which only the number of labels is read."""

    @property
    def y(self) -> Tensor: ...


B = TypeVar("B", bound=HasLabels)


def sampled_steps(steps: int) -> range:
    """Which steps of an epoch to time, counted from 0."""
    return range(min(_FIRST, steps - 1), min(_FIRST + _COUNT, steps))


@dataclass(frozen=True)
class Cost:
    """What a step costs.

    Attributes:
        milliseconds: of each part, the median over the timed steps.
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
        parts: that are told of; one that never came up has 0 milliseconds.
    """

    def __init__(self, device: torch.device | None = None, parts: tuple[str, ...] = SEPARATE) -> None:
        self._device = device or torch.device("cpu")
        self._parts = parts
        self._open: list[str] = []
        self._marks: list[tuple[str, Any]] | None = None
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
        steps = [_by_part(marks) for _, marks in timed]
        totals = [sum(step.values()) for step in steps]
        speeds = [1000 * samples / max(total, 1e-6) for (samples, _), total in zip(timed, totals, strict=True)]
        return Cost(
            {part: round(statistics.median(step.get(part, 0.0) for step in steps), 3) for part in self._parts},
            round(statistics.median(totals), 3),
            round(statistics.median(speeds), 1),
        )

    def forget(self) -> None:
        """As if nothing had been timed yet."""
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
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
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


IDLE = Clock()
"""Never times anything."""
