"""Worker processes that end with their parent."""

import multiprocessing
from collections.abc import Callable
from typing import Any, Self

from smskd.interrupts import children_ignore_ctrl_c

_PATIENCE = 5.0
"""Seconds in which a worker may end by itself before it is terminated."""


class WorkerProcess:
    """A process, seen from its parent; a context manager that ends it.

    Args:
        serve: its work, a function of a module. It gets its end of a pipe, and the arguments.
        arguments: that can be pickled.

    Attributes:
        connection: to the process.
    """

    def __init__(self, serve: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        # A daemon: it ends with its parent, however that ends.
        self._process = context.Process(target=serve, args=(other, *arguments), daemon=True)
        with children_ignore_ctrl_c():
            self._process.start()
        other.close()

    def receive(self) -> Any:
        """The next message; blocks until there is one.

        Raises:
            EOFError: the process has ended.
        """
        try:
            return self.connection.recv()
        except OSError:
            raise EOFError from None

    def exit_code(self) -> int | None:
        """Waits for the end of the process; negative: the signal that has ended it."""
        self._process.join()
        return self._process.exitcode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.connection.close()
        self._process.join(timeout=_PATIENCE)
        self._process.terminate()
        self._process.join()
