"""Trainings in threads of this process, several at a time, each with the weights that it has alone.

A GPU that a small network leaves idle most of the time works on several runs at once only if one process launches
them, each in a stream of its own. What a process has only once is shared as in :mod:`smskd.turns`.
"""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from smskd.errors import UserError
from smskd.models.memory_errors import is_out_of_memory
from smskd.session import Run
from smskd.sweeps.fitting import MemoryMeter, most_at_once, why_no_more
from smskd.training.compute_policy import number_of_threads
from smskd.training.config import RunConfig
from smskd.training.reports import EpochReport
from smskd.training.run import Report
from smskd.turns import DrewOutOfTurnError, Turn, Turns

LOOK = 0.5
"""Seconds between two looks at what other processes have left."""

_EPOCH = object()
"""A message: an epoch has been trained, so that the memory of a run is known."""


class Task(Protocol):
    """A run that is to be trained."""

    @property
    def folder(self) -> Path:
        """Of the run."""

    @property
    def alone(self) -> bool:
        """Whether no other run may be trained meanwhile."""

    def train(self, seat: "Seat") -> None:
        """Trains it, in a thread that has its turn.

        Raises:
            Exception: if :meth:`Seat.again` says so of it, the run is given back; any other one ends all threads.
        """

    def told(self, sentence: str) -> object:
        """The message with a sentence about how it is trained."""


class Source(Protocol):
    """Where the threads get their tasks. One of them calls it at a time."""

    def take(self) -> Task | Literal["wait", "done"]:
        """The next one; ``wait``: there may be one later; ``done``: none is left."""

    def give_back(self, task: Task, *, alone: bool) -> None:
        """One that was taken and is not complete is to be taken again, after all others if it is to be alone."""

    def left(self) -> int | None:
        """The number of tasks that may be taken now; None: unknown."""


@dataclass(eq=False)
class Seat:
    """The place of a run in its thread.

    Attributes:
        say: passes a message on to the thread that has started the others.
        beside: whether another run has been trained at the same time.
    """

    say: Callable[[object], None]
    _threads: "Threads"
    _task: Task
    turn: Turn
    beside: bool

    def reports(self, run: Run, config: RunConfig) -> Generator[Report, None, None]:
        """Trains a run, without a page.

        Args:
            run: that has a folder.
            config: everything that it needs.
        """
        self._threads._check_threads(run, config)
        told = self.turn.keeps
        reports = run.train(config, self._threads._track, report=False)
        try:
            for report in reports:
                yield report
                if isinstance(report, EpochReport):
                    self.say(_EPOCH)
                if self.turn.keeps and not told:
                    told = True
                    self.note("its steps draw random numbers (dropout or the like): the others wait")
        finally:
            reports.close()

    def note(self, sentence: str) -> None:
        """Passes a sentence about the run on."""
        self.say(self._task.told(sentence))

    def again(self, error: BaseException) -> bool:
        """Whether a run that has ended with an error is to be trained again."""
        return isinstance(error, DrewOutOfTurnError) or (self.beside and any(map(is_out_of_memory, _causes(error))))


class Threads:
    """Threads that take one task after another. The first begins, and the others when a run's memory is known.

    Args:
        source: of the tasks.
        device: of all runs.
        most: threads; None: as many as the memory holds.
    """

    def __init__(self, source: Source, device: torch.device, most: int | None) -> None:
        self._source, self._device, self._most = source, device, most
        self._stopped = threading.Event()
        self._turns = Turns(self._stopped)
        self._meter = MemoryMeter(device)
        self._messages: queue.Queue[object] = queue.Queue()
        self._changed = threading.Condition()
        """Held while a task is taken or given back."""
        self._seats: list[Seat] = []
        """Of the runs that are being trained."""
        self._taken = 0
        self._one_alone = False
        self._drew = set[Path]()
        """Folders of runs that draw random numbers where this was not expected."""
        self._threads: int | None = None
        self._workers: list[threading.Thread] = []

    def work(self, told: Callable[[Any], None]) -> None:
        """Trains until nothing is left.

        An exception that passes through stops all runs before their next step.

        Args:
            told: called in this thread for each message.
        """
        try:
            self._start()
            self._serve(told)
        finally:
            self._stopped.set()
            for worker in self._workers:
                worker.join()

    def _start(self) -> None:
        worker = threading.Thread(target=self._work, name=f"smskd-run-{len(self._workers)}")
        self._workers.append(worker)
        worker.start()

    def _serve(self, told: Callable[[Any], None]) -> None:
        """Passes messages on until all threads have ended, and starts further ones as soon as memory is known."""
        working, known = 1, False
        while working:
            message = self._messages.get()
            if message is None:
                working -= 1
            elif isinstance(message, _Failure):
                raise message.error
            elif message is not _EPOCH:
                told(message)
            elif not known:
                known = True
                for _ in range(self._further(told)):
                    self._start()
                    working += 1

    def _further(self, told: Callable[[Any], None]) -> int:
        """How many threads are started beside the first one."""
        with self._changed:
            left, seats = self._source.left(), [*self._seats]
        limits = [limit for limit in (self._most, None if left is None else left + 1) if limit is not None]
        fitting = most_at_once(self._meter.used(), self._meter.free(), self._device, asked=self._most)
        wanted = min(limits, default=fitting)
        if fitting < wanted and seats:
            why = str(self._meter) if self._most else why_no_more(self._meter, fitting, self._device)
            told(seats[0]._task.told(f"{fitting} of {wanted} runs are trained at a time: {why}"))
        return max(0, min(wanted, fitting) - 1)

    def _work(self) -> None:
        try:
            with self._stream():
                goes_on = True
                while goes_on and (task := self._next()) is not None:
                    goes_on = self._train(task)
        except BaseException as error:
            self._messages.put(_Failure(error))
        finally:
            self._messages.put(None)

    def _next(self) -> Task | None:
        """Takes a task; one that is to be alone once the others have ended, and none beside it."""
        with self._changed:
            while not self._stopped.is_set():
                found = "wait" if self._one_alone else self._source.take()
                if found == "done":
                    return None
                if not isinstance(found, str):
                    self._taken += 1
                    if found.alone or found.folder in self._drew:
                        return self._when_alone(found)
                    return found
                self._changed.wait(LOOK)
        return None

    def _when_alone(self, task: Task) -> Task | None:
        self._one_alone = True
        while self._taken > 1 and not self._stopped.is_set():
            self._changed.wait(LOOK)
        if not self._stopped.is_set():
            return task
        self._source.give_back(task, alone=True)
        return None

    def _train(self, task: Task) -> bool:
        """Trains one; whether the thread takes further ones."""
        drew, seat = task.folder in self._drew, None
        try:
            with self._turns.turn(alone=drew) as turn:
                seat = self._seated(task, turn)
                task.train(seat)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and self._stopped.is_set():
                return False
            if seat is None or not seat.again(error):
                raise
            return self._given_back(task, seat, drew=isinstance(error, DrewOutOfTurnError))
        finally:
            with self._changed:
                self._taken -= 1
                self._one_alone = False if self._taken == 0 else self._one_alone
                if seat is not None:
                    self._seats.remove(seat)
                self._changed.notify_all()
        return True

    def _seated(self, task: Task, turn: Turn) -> Seat:
        with self._changed:
            seat = Seat(self._messages.put, self, task, turn, beside=bool(self._seats))
            for other in self._seats:
                other.beside = True
            self._seats.append(seat)
        return seat

    def _given_back(self, task: Task, seat: Seat, *, drew: bool) -> bool:
        with self._changed:
            if drew:
                self._drew.add(task.folder)
            self._source.give_back(task, alone=drew)
            others = len(self._seats) > 1
        if drew:
            seat.note("draws random numbers where this was not expected: trained again, alone")
            return True
        seat.note("memory did not suffice beside the others: it goes on later, with one run fewer at a time")
        return not others

    def _check_threads(self, run: Run, config: RunConfig) -> None:
        threads = number_of_threads(config)
        if self._threads is None:
            self._threads = threads
            torch.set_num_threads(threads)
        elif threads != self._threads:
            raise UserError(
                f"{run.folder.path} is trained with {threads} threads, and the runs beside it with {self._threads}: "
                "train it without --together"
            )

    def _track(self, items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        """The items, until the runs are to stop."""
        for item in items:
            if self._stopped.is_set():
                raise KeyboardInterrupt
            yield item

    @contextmanager
    def _stream(self) -> Iterator[None]:
        """A stream of its own for this thread."""
        context: AbstractContextManager[Any] = nullcontext()
        if self._device.type == "cuda":
            if self._device.index is not None:
                torch.cuda.set_device(self._device)
            context = torch.cuda.stream(torch.cuda.Stream(self._device))  # type: ignore[no-untyped-call]
        with context:
            yield


@dataclass(frozen=True)
class _Failure:
    """A message: a thread has ended with an error."""

    error: BaseException


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__
