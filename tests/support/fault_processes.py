"""Processes that are hurt, forked from one that has imported torch, which takes seconds, and has computed nothing."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from smskd.cli.exits import MISTAKE, end
from smskd.errors import UserError
from tests.support.fault_hooks import COUNT, Events, Fault
from tests.support.fault_trainings import OUT, distill, sweep

PATIENCE = 120
"""Seconds after which a process counts as standing still."""

_LOCK = threading.Lock()

_PRELOADED = ["__main__", "tests.support.fault_processes", "smskd.cli.train", "smskd.cli.app", "sklearn.datasets"]


@dataclass(frozen=True)
class Command:
    """A process to be started.

    Attributes:
        here: its working folder, which has the cache of the teacher's outputs too.
        words: of the command line, or ``distill``.
        fault: strikes it.
        page: whether a run's page is made and latencies are taken.
        environment: further variables.
    """

    here: Path
    words: tuple[str, ...]
    fault: Fault | None = None
    page: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """The end of a process.

    Attributes:
        code: exit code, or the negative number of a signal.
        message: on stderr.
        events: their number, if the process came to its end.
    """

    code: int
    message: str
    events: int = 0

    @property
    def is_one_line(self) -> bool:
        """Whether it is a mistake told in one line."""
        return self.code == 2 and self.message.startswith("smskd: ") and self.message.count("\n") == 1


class Started:
    """A process that has been started."""

    def __init__(self, command: Command) -> None:
        self._command = command
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        # A pipe, since a full disk must not keep the message from being written.
        self._stderr, other = context.Pipe(duplex=False)
        (command.here / COUNT).unlink(missing_ok=True)
        self._process = context.Process(target=_work, args=(command, other))
        # Not mock.patch.dict, which takes back whatever another thread does to other variables meanwhile.
        with _LOCK, pytest.MonkeyPatch.context() as patch:
            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
                patch.setenv(name, "1")
            self._process.start()
        other.close()

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process.pid is not None
        return self._process.pid

    def wait_until_stopped(self) -> None:
        """Waits until the process has sent SIGSTOP to itself."""
        end = time.monotonic() + PATIENCE
        while Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            assert self._process.is_alive(), self.end()
            assert time.monotonic() < end, "the process has not stopped"
            time.sleep(0.01)

    def signal(self, number: int) -> None:
        """Sends it a signal, if it has not ended."""
        if self._process.is_alive():
            os.kill(self.pid, number)

    def end(self) -> Ended:
        """Waits for its end."""
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
            raise AssertionError(f"{self._command.words} has not ended within {PATIENCE} s")
        count = self._command.here / COUNT
        events = int(count.read_text()) if count.exists() else 0
        assert self._process.exitcode is not None
        return Ended(self._process.exitcode, self._message(), events)

    def _message(self) -> str:
        os.set_blocking(self._stderr.fileno(), False)
        parts: list[bytes] = []
        with suppress(BlockingIOError):  # an orphaned child process may still hold the other end
            while part := os.read(self._stderr.fileno(), 65536):
                parts.append(part)
        return b"".join(parts).decode(errors="replace")


def run(command: Command) -> Ended:
    """Starts a process and waits for its end."""
    return Started(command).end()


def _work(command: Command, stderr: Connection) -> None:
    """The work of the process."""
    multiprocessing.set_start_method(None, force=True)  # type: ignore[arg-type]  # as in a process of its own
    os.chdir(command.here)
    os.environ.update({"SMSKD_CACHE": str(command.here / "cache"), "COLUMNS": "80", **command.environment})
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(stderr.fileno(), 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        signal.signal(number, handler)
    if not command.page:
        _spare_time()
    events = Events(command.here, command.fault)
    events.watch()
    try:
        _train(command.words, events)
    finally:
        if command.fault is None:
            Path(COUNT).write_text(str(events.count))


def _train(words: tuple[str, ...], events: Events) -> None:
    try:
        if words == ("distill",):
            distill(OUT)
        elif words == ("sweep",):
            sweep(Path(OUT), lambda _: events.happened("progress"))
        else:
            from smskd.cli import main

            sys.argv = ["smskd", *words]
            main()
    except UserError as error:
        end(str(error), MISTAKE)


def _spare_time() -> None:
    """No page, and no latencies, which take longer than the training."""
    from smskd import session
    from smskd.report.page import Page
    from smskd.training import summary

    session.write_run_report = Page  # type: ignore[assignment]
    summary.latency = lambda *_, **__: {"1": 1.0, "64": 1.0}
