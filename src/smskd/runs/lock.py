"""The lock of a run's folder: one process at a time trains in it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from smskd.errors import UserError
from smskd.runs.atomic_files import not_writable
from smskd.runs.file_names import LOCK

_PATIENCE = 0.5
"""Seconds: a process that is just ending still holds the lock."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes out of a folder, which exists. The operating system ends the lock with the process.

    Raises:
        UserError: another process has the folder, or it cannot be written.
    """
    file = folder / LOCK
    lock = FileLock(file, timeout=_PATIENCE, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"{folder} is in use: another process trains this run; wait for it, or stop it") from None
    except OSError as error:
        raise not_writable(folder, error) from error
    try:
        yield
    finally:
        # Removed while it is held: who waits for it is told by filelock that the file is gone, and takes a new one.
        with suppress(OSError):
            file.unlink()
        with suppress(OSError):
            lock.release()
