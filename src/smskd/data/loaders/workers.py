"""The end of a loader's worker processes, in a line."""

import pickle
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from smskd.errors import UserError

_CUT = (ConnectionError, EOFError, FileNotFoundError)
"""Errors of multiprocessing while it fetches a batch from a worker that has just ended."""

_NOTICE = 1.0
"""Seconds within which the end of a worker, which has cut its connection, is known by its signal."""


def surviving(batches: Iterable[Any], workers: int) -> Iterator[Any]:
    """The batches of a ``DataLoader``.

    Args:
        batches: the loader.
        workers: number of its worker processes.

    Raises:
        UserError: a worker process has ended, or the data set cannot be sent to one.
    """
    if not workers:
        yield from batches
        return
    done = 0
    with lost_workers_told(lambda: f" before batch {done + 1} of the epoch"):
        for batch in _fetched(batches):
            yield batch
            done += 1


@contextmanager
def lost_workers_told(moment: Callable[[], str] = str) -> Iterator[None]:
    """Turns the error for a worker process that has ended into a line.

    PyTorch raises it from a signal handler, so that it can come up at any line of the training loop, and not only
    where batches are read.

    Args:
        moment: words for the time at which it happened.

    Raises:
        UserError: a worker process has ended.
    """
    try:
        yield
    except RuntimeError as error:
        message = str(error)
        if not ("DataLoader worker" in message and ("unexpectedly" in message or "killed by signal" in message)):
            raise
        raise UserError(
            f"a worker process of the data loader has ended{moment()} (killed, or out of memory): resume the run, "
            "perhaps with fewer workers (data.loader.workers)"
        ) from error


def _fetched(batches: Iterable[Any]) -> Iterator[Any]:
    try:
        yield from _started(batches)
    except _CUT as error:
        if not _from_multiprocessing(error):
            raise
        time.sleep(_NOTICE)  # otherwise PyTorch's signal handler would raise while this error is handled
        raise RuntimeError("a DataLoader worker has cut its connection unexpectedly") from error


def _from_multiprocessing(error: BaseException) -> bool:
    """Whether an error was raised by multiprocessing in this process, rather than by a data set."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).startswith("multiprocessing.")


def _started(batches: Iterable[Any]) -> Iterator[Any]:
    try:
        return iter(batches)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"data.loader.workers: the data set cannot be sent to worker processes: {reason}") from error
