"""The end of a loader's worker processes, in a line."""

import pickle
from collections.abc import Iterable, Iterator
from typing import Any

from smskd.errors import UserError


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
    try:
        for batch in _started(batches):
            yield batch
            done += 1
    except RuntimeError as error:
        if not is_lost_worker(error):
            raise
        raise lost_worker(f" before batch {done + 1} of the epoch") from error


def is_lost_worker(error: RuntimeError) -> bool:
    """Whether PyTorch raised it because a worker process has ended.

    PyTorch raises it from a signal handler, so that it can come up at any line of the program.
    """
    message = str(error)
    return "DataLoader worker" in message and ("exited unexpectedly" in message or "is killed by signal" in message)


def lost_worker(moment: str = "") -> UserError:
    """The error for a worker process that has ended."""
    return UserError(
        f"a worker process of the data loader has ended{moment} (killed, or out of memory): resume the run, perhaps "
        "with fewer workers (data.loader.workers)"
    )


def _started(batches: Iterable[Any]) -> Iterator[Any]:
    try:
        return iter(batches)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"data.loader.workers: the data set cannot be sent to worker processes: {reason}") from error
