"""Faults that strike a process from within, when it has done something to its files for the n-th time.

The moments are counted in events, not in seconds, so that a fault strikes the same place on every machine.
"""

import errno
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from tests.support.fault_trainings import OUT

COUNT = "events.txt"
"""The number of events of a process that came to its end."""

GONE = "gone"
"""The name under which a folder that vanishes can be found."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class Fault:
    """A fault that strikes at an event.

    Attributes:
        action: a key of :data:`ACTIONS`.
        at: number of the event among those that ``on`` selects, from 1.
        on: part of the event's name, which is ``open``, ``rename``, ``remove``, ``mkdir`` or ``rmdir`` with the name of
            a file, ``fsync``, ``pwrite``, ``step`` of an optimizer, or ``progress`` of a sweep. By default every
            event counts.
        size: of the actions that limit the size of files, in bytes.
    """

    action: str
    at: int = 1
    on: str = ""
    size: int = 0


class Events:
    """Counts the events of this process, and lets a fault strike.

    Args:
        here: only files in this folder count.
        fault: None: events are counted, and nothing strikes.
    """

    def __init__(self, here: Path, fault: Fault | None) -> None:
        self.here = here
        self.fault = fault
        self.count = 0
        self._left = 0 if fault is None else fault.at
        self._process = os.getpid()
        self._denied = False

    def watch(self) -> None:
        """Begins. It cannot be undone in this process."""
        for name in ("fsync", "pwrite"):
            self._count_calls(name)
        register_optimizer_step_post_hook(lambda *_: self.happened("step"))
        sys.addaudithook(self._audited)

    def happened(self, event: str) -> None:
        """Is called before each event."""
        if os.getpid() != self._process:  # a forked worker of a loader
            return
        self.count += 1
        if self._denied and event != "step":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if self.fault is not None and self._left and self.fault.on in event:
            self._left -= 1
            if self._left == 0:
                ACTIONS[self.fault.action](self)

    def deny_writing(self) -> None:
        """Every later change of a file fails as on a file system that has become read-only."""
        self._denied = True
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def _audited(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING:
                self._changed("open", path)
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir"):
            self._changed(event.removeprefix("os."), arguments[1] if event == "os.rename" else arguments[0])

    def _changed(self, what: str, path: Any) -> None:
        if isinstance(path, (str, os.PathLike)):
            found = Path(os.path.abspath(path))
            if found.is_relative_to(self.here):
                self.happened(f"{what} {found.name}")

    def _count_calls(self, name: str) -> None:
        original: Callable[..., Any] = getattr(os, name)

        def counting(*arguments: Any) -> Any:
            self.happened(name)
            return original(*arguments)

        setattr(os, name, counting)


def _signal(*numbers: int) -> Callable[[Events], None]:
    def send(_: Events) -> None:
        for number in numbers:
            os.kill(os.getpid(), number)

    return send


def _limit_files(events: Events) -> None:
    """No file may become larger: writing fails with "File too large", as it fails on a full disk."""
    assert events.fault is not None
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (events.fault.size, events.fault.size))


def _kill_at_size(events: Events) -> None:
    """The process ends in the middle of a write, after so many bytes of a file."""
    assert events.fault is not None
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (events.fault.size, events.fault.size))


def _vanish(events: Events) -> None:
    os.rename(events.here / OUT, events.here / GONE)


def _become_a_file(events: Events) -> None:
    _vanish(events)
    (events.here / OUT).write_text("no folder")


def _exhaust_memory(_: Events) -> None:
    torch.empty(2**46)


def _kill_workers(_: Events) -> None:
    workers = multiprocessing.active_children()
    assert workers, "there are no workers to kill"
    for worker in workers:
        worker.kill()


def _set_clock_back(_: Events) -> None:
    """A clock that jumps back by a year now and runs backwards from here."""
    now, real = time.time(), time.time
    time.time = lambda: now - 365 * 86400.0 - (real() - now)


ACTIONS: dict[str, Callable[[Events], None]] = {
    "SIGKILL": _signal(signal.SIGKILL),
    "SIGTERM": _signal(signal.SIGTERM),
    "SIGHUP": _signal(signal.SIGHUP),
    "Ctrl-C": _signal(signal.SIGINT),
    "Ctrl-C twice": _signal(signal.SIGINT, signal.SIGINT),
    "stopped": _signal(signal.SIGSTOP),
    "killed within a file": _kill_at_size,
    "full disk": _limit_files,
    "read-only": Events.deny_writing,
    "vanished folder": _vanish,
    "folder replaced by a file": _become_a_file,
    "out of memory": _exhaust_memory,
    "dead workers": _kill_workers,
    "wrong clock": _set_clock_back,
}
