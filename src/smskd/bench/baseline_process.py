"""The baseline loop in a process of its own, free of the settings that make our loop faster."""

import multiprocessing
import pickle
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

import torch

from smskd.bench.baseline_data import ImageDataset
from smskd.bench.baseline_turns import BaselineTurns
from smskd.errors import UserError
from smskd.interrupts import children_ignore_ctrl_c

_PATIENCE = 5.0
"""Seconds in which a process that is no longer needed may end by itself."""


class BaselineProcess:
    """:class:`~smskd.bench.baseline_turns.BaselineTurns` in a spawned process; a context manager that ends it.

    Args:
        options, data: the arguments of ``BaselineTurns``.

    Raises:
        UserError: the process ended early.
    """

    def __init__(self, options: dict[str, Any], data: ImageDataset) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        settings = (multiprocessing.get_start_method(), torch.backends.cuda.matmul.allow_tf32)
        # Not a daemon: a daemon may not have the worker processes that a DataLoader starts.
        self._process = context.Process(target=_serve, args=(other, *settings))
        try:
            with children_ignore_ctrl_c():
                self._process.start()
            other.close()
            self._ask(pickle.dumps(data), pickle.dumps(options))
        except BaseException:
            self._stop()
            raise

    def turn(self, steps: int) -> float:
        """Trains and times some steps after a warm-up; returns images per second."""
        images_per_second: float = self._ask(steps)
        return images_per_second

    def measures(self) -> dict[str, Any]:
        """The measures over all turns; the process ends."""
        result: dict[str, Any] = self._ask(None)
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

    def _ask(self, *messages: int | bytes | None) -> Any:
        """Sends messages and waits for one answer."""
        try:
            for message in messages:
                self._connection.send(message)
            return self._connection.recv()
        except (EOFError, OSError):
            self._stop()
            raise UserError(
                f"the process of the baseline loop ended with exit code {self._process.exitcode}; "
                "its messages are above"
            ) from None

    def _stop(self) -> None:
        self._connection.close()
        if self._process.pid is not None:
            self._process.join(timeout=_PATIENCE)
            self._process.terminate()
            self._process.join()


def _serve(connection: Connection, start_method: str, tf32: bool) -> None:
    """The work of the process: turns, as many as are asked for, then the measures."""
    multiprocessing.set_start_method(start_method, force=True)  # the platform's default, for the DataLoader's workers
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    data = pickle.loads(_received(connection))
    baseline = BaselineTurns(pickle.loads(_received(connection)), data)
    baseline.begin()
    with suppress(BrokenPipeError):  # the parent has stopped
        connection.send(None)
        while (steps := _received(connection)) is not None:
            connection.send(baseline.turn(steps))
        connection.send(baseline.measures())


def _received(connection: Connection) -> Any:
    """A message from the parent; ends this process silently where the parent has stopped."""
    try:
        return connection.recv()
    except (EOFError, OSError):
        sys.exit()
