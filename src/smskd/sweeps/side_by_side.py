"""Training runs that have a folder, several at a time, in threads of this process.

A GPU that a small network leaves idle most of the time works on several runs at once only if one process launches
them, each in a stream of its own. Each run has the weights that it has alone (:mod:`smskd.turns`).
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from smskd.build import Provided
from smskd.config.data import DataConfig
from smskd.data import Dataset, TextDataset
from smskd.errors import UserError
from smskd.models.memory_errors import is_out_of_memory
from smskd.session import Run
from smskd.sweeps.fitting import MemoryMeter, most_at_once
from smskd.training.compute_policy import number_of_threads
from smskd.training.globals import computing
from smskd.training.host import device_of, keep_freed_memory
from smskd.training.reports import EpochReport
from smskd.training.run import Report
from smskd.turns import DrewOutOfTurnError, Turns

Loaded = list[tuple[DataConfig, Dataset | TextDataset]]
"""Data sets, with their settings."""


@dataclass(frozen=True)
class Message:
    """A message of a run.

    Attributes:
        run: that it is about.
        kind: ``report``: of an epoch or the like; ``finished``: the run is complete; ``failed``: it cannot be trained;
            ``note``: a sentence about how it is trained.
        content: the report, the error, or the sentence.
    """

    run: Run
    kind: Literal["report", "finished", "failed", "note"]
    content: Report | BaseException | str = ""


def train_side_by_side(runs: Sequence[Run], loaded: Loaded, most: int | None, told: Callable[[Message], None]) -> None:
    """Trains runs, as many at a time as the memory holds, without a page for each.

    The first one is trained alone until the end of its first epoch, which shows how much memory a run takes. A run
    that fails does not keep the others from training. An exception that passes through, Ctrl-C among them, stops all
    runs before their next step; all can then be resumed.

    Args:
        runs: on one device, with one choice of TF32.
        loaded: the data of each of them.
        most: at a time; None: as many as fit.
        told: called in this thread for each message.

    Raises:
        UserError: runs that cannot be trained in one process.
    """
    check_runs(runs)
    device = device_of(runs[0].recipe.runtime.device)
    keep_freed_memory(device)
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]  # before the turns look for its generators
    with computing(runs[0].recipe.runtime):
        _Crew(runs, loaded, most, device).work(told)


def check_runs(runs: Iterable[Run]) -> None:
    """Raises UserError for runs that cannot be trained in one process."""
    shared = {(run.recipe.runtime.device, run.recipe.runtime.tf32) for run in runs}
    if len(shared) > 1:
        raise UserError(
            "--together: runtime.device and runtime.tf32 differ between the runs, and a process has one of each at a "
            "time; train them without --together"
        )
    if any(run.recipe.data.loader.workers for run in runs):
        raise UserError(
            "--together: worker processes of a data loader cannot be started beside other runs; set "
            "data.loader.workers=0, or leave out --together"
        )


class _Crew:
    """Threads that take one run after another. The first thread begins, and the others when a run's memory is known."""

    def __init__(self, runs: Sequence[Run], loaded: Loaded, most: int | None, device: torch.device) -> None:
        self._waiting = deque(runs)
        self._alone: list[Run] = []
        self._loaded, self._most, self._device = loaded, most, device
        self._turns = Turns()
        self._meter = MemoryMeter(device)
        self._messages: queue.Queue[Message | None] = queue.Queue()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._training = 0
        self._threads: int | None = None
        self._workers: list[threading.Thread] = []

    def work(self, told: Callable[[Message], None]) -> None:
        """Trains all of them."""
        try:
            self._start()
            self._serve(told)
            for run in self._alone:
                told(Message(run, "note", "draws random numbers where this was not expected: trained again, alone"))
                self._waiting.append(run)
                self._start(alone=True)
                self._serve(told)
        finally:
            self._stopped.set()
            for worker in self._workers:
                worker.join()

    def _start(self, *, alone: bool = False) -> None:
        worker = threading.Thread(target=self._work, args=(alone,), name=f"smskd-run-{len(self._workers)}")
        self._workers.append(worker)
        worker.start()

    def _serve(self, told: Callable[[Message], None]) -> None:
        """Passes messages on until all threads have ended, and starts further ones as soon as memory is known."""
        working, known = 1, False
        while working:
            message = self._messages.get()
            if message is None:
                working -= 1
                continue
            told(message)
            if not known and isinstance(message.content, EpochReport):
                known = True
                for _ in range(self._further(told, message.run)):
                    self._start()
                    working += 1

    def _further(self, told: Callable[[Message], None], run: Run) -> int:
        """How many threads are started beside the first one."""
        wanted = min(len(self._waiting) + 1, self._most or len(self._waiting) + 1)
        fitting = most_at_once(self._meter.used(), self._meter.free(), self._device, asked=self._most)
        if fitting < wanted:
            told(Message(run, "note", f"{fitting} of {wanted} runs are trained at a time: {self._meter}"))
        return max(0, min(wanted, fitting) - 1)

    def _work(self, alone: bool) -> None:
        try:
            with self._stream():
                while (run := self._next()) is not None:
                    self._train(run, alone)
        finally:
            self._messages.put(None)

    def _next(self) -> Run | None:
        with self._lock:
            if self._stopped.is_set() or not self._waiting:
                return None
            self._training += 1
            return self._waiting.popleft()

    def _train(self, run: Run, alone: bool) -> None:
        say, turn = self._messages.put, None
        try:
            with self._turns.turn(alone=alone) as turn:
                for report in self._reports(run):
                    say(Message(run, "report", report))
                    if turn.keeps and not alone:
                        alone = True
                        say(
                            Message(run, "note", "its steps draw random numbers (dropout or the like): the others wait")
                        )
            say(Message(run, "finished"))
        except DrewOutOfTurnError:
            self._alone.append(run)
        except KeyboardInterrupt:
            pass
        except BaseException as error:
            if not self._waits(run, error):
                say(Message(run, "failed", error))
        finally:
            with self._lock:
                self._training -= 1

    def _reports(self, run: Run) -> Iterator[Report]:
        own = replace(run, fresh=False)  # its folder is kept: it may be begun again
        dataset = next(dataset for config, dataset in self._loaded if config == run.recipe.data)
        config = own.build(Provided(dataset=dataset))
        threads = number_of_threads(config)
        if self._threads is None:
            self._threads = threads
            torch.set_num_threads(threads)
        elif threads != self._threads:
            raise UserError(
                f"{run.folder.path} is trained with {threads} threads, and the runs beside it with {self._threads}: "
                "train it without --together"
            )
        reports = own.train(config, self._track, report=False)
        try:
            yield from reports
        finally:
            reports.close()
            run.problems.extend(own.problems)

    def _waits(self, run: Run, error: BaseException) -> bool:
        """Whether a run is trained later, since memory did not suffice for it beside the others."""
        with self._lock:
            if self._training == 1 or not any(map(is_out_of_memory, _causes(error))):
                return False
            self._waiting.append(run)
        self._messages.put(Message(run, "note", "memory did not suffice beside the others: it goes on later"))
        return True

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


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__
