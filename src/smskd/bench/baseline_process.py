"""The plain loop beside ours: on copies of the same networks, in a process of its own."""

import copy
import multiprocessing
import pickle
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib import import_module
from itertools import islice
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

import torch

from smskd.bench.case import Case
from smskd.data import Dataset
from smskd.errors import UserError
from smskd.objective.weighted_sum import Objective
from smskd.timing import Clock, Cost
from smskd.training.config import RunConfig
from smskd.training.host import allow_tf32, forget_peak, memory_in_use, peak_memory

WARM_UP = 2
"""Steps at the start of each turn that are not timed: caches are cold, and workers have only just begun."""

_WARM_UPS = {"cuda": 20}
"""Of the plain loop, by type of device: a GPU's steps are so short that its workers need several to get ahead."""

_PATIENCE = 5.0
"""Seconds in which a process that is no longer needed may end by itself."""


def plain() -> Any:
    """The file of the plain loop."""
    return import_module("smskd.bench.baseline_loop")


def plain_data(case: Case, pictures: Dataset) -> Any | None:
    """The pictures as the plain loop reads them; None if it does not have the method."""
    loop = plain()
    if case.method not in loop.METHODS:
        return None
    return loop.PictureData(
        pictures.train.images.permute(0, 2, 3, 1).contiguous().numpy(),
        pictures.train.labels.numpy(),
        loop.training_transform(case.image_size, pictures.mean, pictures.std, pictures.padding, pictures.flip),
        loop.NEGATIVES if case.method == "crd" else 0,
    )


def usual_options(setup: RunConfig, objective: Objective) -> dict[str, Any]:
    """Arguments of the plain loop, but for its data: those of our last stage, with copies of its networks."""
    assert objective.teacher is not None
    return {
        "student": _contiguous(objective.student),
        "teacher": _contiguous(objective.teacher.model),
        "method": setup.stages[-1].names[0],
        "batch_size": setup.data.batch_size,
        "reference": _contiguous(objective.reference.model) if objective.reference else None,
        "device": setup.example.device,
        "learning_rate": setup.pace.optimizer.learning_rate,
    }


class UsualLoop:
    """The plain loop.

    Args:
        options: as :func:`usual_options` gives them.
        data: as :func:`plain_data` makes it.
    """

    def __init__(self, options: dict[str, Any], data: Any) -> None:
        self._device = torch.device(options["device"])
        self._before = memory_in_use(self._device)
        forget_peak(self._device)
        self.loop = plain().PlainLoop(data=data, **options)
        self.memory: int | None = None

    def begin(self) -> None:
        """A turn before those that count."""
        self.turn(1)
        self.memory = more(peak_memory(self._device), self._before)
        self.loop.clock.forget()

    def turn(self, steps: int) -> float:
        """Trains and times some steps, after a warm-up; gives their images a second."""
        warm_up = _WARM_UPS.get(self._device.type, WARM_UP)
        timed = range(warm_up, warm_up + steps)
        self.loop.train(self.loop.clock.steps(islice(self._endless(), timed.stop), timed))
        return speed(self.loop.clock, steps)

    def measured(self) -> dict[str, Any]:
        """What was measured in all turns."""
        return measured(self.loop.clock, self.memory)

    def _endless(self) -> Iterator[Any]:
        while True:
            yield from self.loop.batches()


class UsualProcess:
    """:class:`UsualLoop` in a process of its own, where nothing that speeds ours up is in effect.

    Args:
        options, data: likewise.
    """

    def __init__(self, options: dict[str, Any], data: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        # Not a daemon: those may not have the worker processes that a DataLoader starts.
        settings = (multiprocessing.get_start_method(), torch.backends.cuda.matmul.allow_tf32)
        self._process = context.Process(target=_serve, args=(other, *settings))
        try:
            with _deaf_to_ctrl_c():
                self._process.start()
            other.close()
            self._answer(pickle.dumps(data), pickle.dumps(options))
        except BaseException:
            self._stop()
            raise

    def turn(self, steps: int) -> float:
        """Trains and times some steps, after a warm-up; gives their images a second."""
        images_per_second: float = self._answer(steps)
        return images_per_second

    def measured(self) -> dict[str, Any]:
        """What was measured in all turns."""
        result: dict[str, Any] = self._answer(None)
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stop()
        self._connection.close()
        self._process.join()

    def _answer(self, *question: int | bytes | None) -> Any:
        """What the process says, to a question or of itself."""
        try:
            for value in question:
                self._connection.send(value)
            return self._connection.recv()
        except (EOFError, OSError):
            self._stop()
            raise UserError(
                f"the plain loop's process ended with exit code {self._process.exitcode}; what it said stands above"
            ) from None

    def _stop(self) -> None:
        self._connection.close()
        if self._process.pid is not None:
            self._process.join(timeout=_PATIENCE)
            self._process.terminate()
            self._process.join()


def measured(clock: Clock, memory: int | None) -> dict[str, Any]:
    """What is told of a loop: the medians of its clock, and how much memory it took."""
    cost = clock.cost()
    assert isinstance(cost, Cost)
    return {**asdict(cost), "peak_memory_bytes": memory}


def speed(clock: Clock, steps: int) -> float:
    """Images a second in the last steps that were timed."""
    cost = clock.cost(last=steps)
    assert isinstance(cost, Cost)
    return cost.images_per_second


def more(peak: int | None, before: int | None) -> int | None:
    """Bytes that a peak is above what was in use before it."""
    return None if peak is None or before is None else max(0, peak - before)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """A process that is started meanwhile leaves it to this one to answer a Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():  # only that one may say so
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(connection: Connection, start_method: str, tf32: bool) -> None:
    multiprocessing.set_start_method(start_method, force=True)  # of a DataLoader's workers: as it is by default
    allow_tf32(tf32)
    pictures = pickle.loads(_heard(connection))
    usual = UsualLoop(pickle.loads(_heard(connection)), pictures)
    usual.begin()
    with suppress(BrokenPipeError):  # as in _heard
        connection.send(None)
        while (steps := _heard(connection)) is not None:
            connection.send(usual.turn(steps))
        connection.send(usual.measured())


def _heard(connection: Connection) -> Any:
    """What the other process sends; where that has been stopped, this one ends without a word."""
    try:
        return connection.recv()
    except (EOFError, OSError):
        sys.exit()


def _contiguous(model: Any) -> Any:
    """A copy in the format that networks have by default."""
    return copy.deepcopy(model).to(memory_format=torch.contiguous_format)
