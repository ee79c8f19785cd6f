"""Reservations: of several processes that want the same stage, one trains it and the others wait."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import get_ident

from filelock import FileLock, Timeout

from smskd.runs.atomic_files import write_json
from smskd.turns import waiting

POLL = 0.25
"""Seconds between two attempts to get a lock."""

_held: dict[Path, int] = {}
"""Locks of this process, with the thread that has each: it would wait for itself for ever."""


class Reservation:
    """The right to train a stage, a context manager that gives it back. The operating system does where a process dies.

    Args:
        file: of the stage. The lock is a file beside it.
    """

    def __init__(self, file: Path) -> None:
        self._path = file.with_suffix(".lock")
        self._note = file.with_suffix(".holder.json")
        self._lock = FileLock(self._path, thread_local=False)

    def acquire(self) -> Iterator[str]:
        """Waits until the right is free and takes it. Without a lock where the folder cannot be written.

        Yields:
            the process that has it, each time after waiting a moment: ``process 4242 on host``.
        """
        while _held.get(self._path) != get_ident():
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                yield self._holder()
                with waiting():
                    time.sleep(POLL)
            except OSError:
                return
            else:
                _held[self._path] = get_ident()
                self._write_holder()
                return

    def __enter__(self) -> "Reservation":
        return self

    def __exit__(self, *error: object) -> None:
        if not self._lock.is_locked:
            return
        _held.pop(self._path, None)
        for path in (self._note, self._path):
            # While it is held: who waits for the lock is told by filelock that the file is gone, and takes a new one.
            with suppress(OSError):
                path.unlink()
        with suppress(OSError):
            self._lock.release()

    def _write_holder(self) -> None:
        with suppress(Exception):  # it is only told to those who wait
            write_json(self._note, {"process": os.getpid(), "host": socket.gethostname()}, parents=False)

    def _holder(self) -> str:
        try:
            found = json.loads(self._note.read_text(encoding="utf-8"))
            return f"process {int(found['process'])} on {str(found['host'])[:100]}"
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return "another process"
