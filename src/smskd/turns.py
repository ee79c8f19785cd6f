"""Several runs in one process, a thread each: what the process has only once belongs to one of them at a time.

PyTorch, numpy and Python have one default random generator for all threads, and a capture of a CUDA graph tolerates no
second one beside it. A run that is trained beside others therefore has a **turn**: with it come the states of the
generators as this run left them. It builds, begins and ends stages, reports and saves with its turn, and gives it up
for the steps of an epoch (:func:`steps`) and for evaluations (:func:`opened`), where it needs nothing of that kind.

Whether steps draw from the default generators is seen in the first two of each epoch, which are trained with the turn;
if they do, the run keeps its turn, and the others wait. While nobody has the turn the generators hold a state of their
own: if it has moved, a run has drawn without its turn, and all that could have done so are stopped with
:class:`DrewOutOfTurnError` before anything of that epoch is kept.

A thread without a turn, as in a process that trains one run, is affected by none of this.
"""

import copy
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

OBSERVED = 2
"""Steps at the beginning of an epoch that are trained with the turn; a CUDA graph is captured in the second."""


class DrewOutOfTurnError(Exception):
    """Random numbers were drawn from a default generator while no run had its turn: the epoch cannot be kept."""


class RandomState:
    """The states of the default generators of Python, numpy and PyTorch, on the CPU and all initialised GPUs.

    Each has GPU states of its own, which a captured graph goes on using.
    """

    def __init__(self) -> None:
        self._gpus = [generator.clone_state() for generator in _gpu_generators()]
        self._on_cpu = _cpu_states()

    def copy(self) -> "RandomState":
        """Equal states of its own."""
        other = copy.copy(self)
        other._gpus = [generator.clone_state() for generator in self._gpus]
        return other

    def load(self) -> None:
        """Makes the states those of the process."""
        python, numpy, cpu = self._on_cpu
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        for generator, own in zip(_gpu_generators(), self._gpus, strict=True):
            generator.graphsafe_set_state(own)

    def save(self) -> None:
        """Takes the states of the process."""
        self._gpus = [generator.graphsafe_get_state() for generator in _gpu_generators()]
        self._on_cpu = _cpu_states()


def drawn_so_far() -> tuple[object, ...]:
    """A value that is different after a random number was drawn from a default generator, or one was seeded."""
    python, numpy, cpu = _cpu_states()
    gpus = [(generator.initial_seed(), generator.get_offset()) for generator in _gpu_generators()]
    return python, numpy[1].tobytes(), *numpy[2:], cpu.numpy().tobytes(), *gpus


class Turns:
    """The turns of the runs of a process.

    Args:
        stopped: is set where runs are to stop: one that waits for another (:func:`waiting`) raises KeyboardInterrupt.
    """

    def __init__(self, stopped: threading.Event | None = None) -> None:
        self._stopped = stopped or threading.Event()
        self._lock = threading.Lock()
        self._between = RandomState()
        self._untouched = drawn_so_far()
        self._open: set[Turn] = set()

    @contextmanager
    def turn(self, *, alone: bool = False) -> Iterator["Turn"]:
        """Within, this thread has a turn, which it may give up now and then.

        Args:
            alone: whether it keeps its turn throughout.
        """
        own = Turn(self, keeps=alone)
        _here.turn = own
        own._take()
        try:
            yield own
        finally:
            _here.turn = None
            own._give(ends=True)


class Turn:
    """The turn of a run.

    Attributes:
        keeps: whether it is kept during steps too, since these draw random numbers or since the run is to be alone.
        held: whether the run has its turn now.
    """

    def __init__(self, turns: Turns, *, keeps: bool) -> None:
        self.keeps = keeps
        self.held = False
        self._turns = turns
        self._state = turns._between.copy()
        self._drew = False
        self._left: int | None = None
        self._before: tuple[object, ...] = ()

    def step_done(self) -> None:
        """Within :func:`steps`, after each step: gives up the turn as soon as steps are known not to draw."""
        if self._left is None:
            return
        self._left -= 1
        if self._left == 0:
            self._left = None
            if drawn_so_far() != self._before:
                self.keeps = True
            else:
                self._give()

    @contextmanager
    def steps(self) -> Iterator["Turn"]:
        """See :func:`steps`."""
        if not self.keeps and self.held:
            self._left, self._before = OBSERVED, drawn_so_far()
        try:
            yield self
        finally:
            self._left = None
            self._retake()
        self._check()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """See :func:`opened`."""
        if self.keeps or not self.held:
            yield
            return
        with self.waiting():
            yield

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """See :func:`waiting`."""
        if not self.held:
            yield
            return
        self._give()
        try:
            yield
        finally:
            self._retake()
        if self._turns._stopped.is_set():
            raise KeyboardInterrupt
        self._check()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """See :func:`held`."""
        if self.held:
            yield
            return
        self._take()
        try:
            self._check()
            yield
        finally:
            self._give()

    def _retake(self) -> None:
        if not self.held:
            self._take()

    def _take(self) -> None:
        try:
            _finish_work()  # not with the turn: the others would wait for this run's GPU work
        finally:
            self._acquire()

    def _acquire(self) -> None:
        turns = self._turns
        turns._lock.acquire()
        if drawn_so_far() != turns._untouched:
            for turn in turns._open:
                turn._drew = True
            turns._between.load()
            turns._untouched = drawn_so_far()
        turns._open.discard(self)
        self._state.load()
        self.held = True

    def _give(self, *, ends: bool = False) -> None:
        try:
            _finish_work()  # what was made once, for all runs, is there before another one reads it
        finally:
            self._state.save()
            self._turns._between.load()
            if not ends:
                self._turns._open.add(self)
            self.held = False
            self._turns._lock.release()

    def _check(self) -> None:
        if self._drew:
            raise DrewOutOfTurnError


class _Here(threading.local):
    turn: Turn | None = None


_here = _Here()


def current() -> Turn | None:
    """The turn of this thread; None where its run is the only one of the process."""
    return _here.turn


class _Unshared:
    """Steps of a run that is the only one."""

    def step_done(self) -> None:
        """Does nothing."""


@contextmanager
def steps() -> Iterator[Turn | _Unshared]:
    """Around the steps of an epoch, after each of which ``step_done`` of the value is called.

    The turn is given up after the first ones, unless these have drawn from a default random generator.

    Raises:
        DrewOutOfTurnError: later ones did.
    """
    turn = current()
    if turn is None:
        yield _Unshared()
    else:
        with turn.steps():
            yield turn


@contextmanager
def opened() -> Iterator[None]:
    """Within, other runs may have the turn: around work that draws nothing from default generators.

    Raises:
        DrewOutOfTurnError: it did.
    """
    turn = current()
    if turn is None:
        yield
    else:
        with turn.opened():
            yield


@contextmanager
def waiting() -> Iterator[None]:
    """Within, other runs may have the turn, even if this one keeps it during steps: around waiting for one of them."""
    turn = current()
    if turn is None:
        yield
    else:
        with turn.waiting():
            yield


@contextmanager
def held() -> Iterator[None]:
    """Within, the run has its turn: around what seeds, reads or restores default generators, or captures a graph."""
    turn = current()
    if turn is None:
        yield
    else:
        with turn.taken():
            yield


def _cpu_states() -> tuple[Any, Any, torch.Tensor]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _gpu_generators() -> tuple[torch.Generator, ...]:
    return tuple(torch.cuda.default_generators) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]


def _finish_work() -> None:
    if torch.cuda.is_initialized() and not torch.cuda.is_current_stream_capturing():  # type: ignore[no-untyped-call]
        torch.cuda.current_stream().synchronize()
