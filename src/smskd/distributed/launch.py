"""Starts the processes of a job on this machine, and ends all when one has ended. Nothing here imports torch."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NoReturn

from smskd.distributed import environment

MISTAKE, LOST = 2, 76
"""Exit codes of a process that has told of a mistake in a line, and of one that has noticed that another is gone, and
says nothing of it."""

_POLL = 0.1
"""Seconds between two looks at the processes."""

GRACE = 5.0
"""Seconds in which the others may end by themselves after one has: to say why, or because they are done too."""


class Job:
    """The processes of a job. The first has the terminal; what the others print on stderr is kept.

    Args:
        command: of every process, such as ``[sys.executable, "-m", "smskd", "train", ...]``.
        count: of processes.
        silent: whether what the first prints on stderr is kept too, and nothing is shown.
    """

    def __init__(self, command: Sequence[str], count: int, *, silent: bool = False) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="smskd-job-")
        meeting = str(Path(self._folder.name) / "meeting")
        self._errors = [Path(self._folder.name) / f"stderr{rank}" for rank in range(count)]
        threads = str(max(1, (os.cpu_count() or 1) // count))
        shared = {"OMP_NUM_THREADS": threads, **os.environ}
        self._shown = None if silent else 0
        self._processes: list[subprocess.Popen[bytes]] = []
        for rank in range(count):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
            variables = {**shared, **own, environment.RENDEZVOUS: meeting}
            if rank == self._shown:
                started = subprocess.Popen(command, env=variables)
            else:
                with self._errors[rank].open("wb") as errors:
                    started = _silent(command, variables, errors)
            self._processes.append(started)

    @property
    def runs(self) -> bool:
        """Whether all processes run."""
        return all(process.poll() is None for process in self._processes)

    def wait(self) -> tuple[int, str | None]:
        """Waits for the end of all processes; where one fails, the others are ended.

        Returns:
            The exit code of the job, and what is to be said of its end; None: nothing, or the first process has.
        """
        while all(process.poll() in (None, 0) for process in self._processes):
            if all(process.poll() == 0 for process in self._processes):
                return 0, None
            time.sleep(_POLL)
        end = time.monotonic() + GRACE
        while any(process.poll() is None for process in self._processes) and time.monotonic() < end:
            time.sleep(_POLL)
        codes = [process.poll() for process in self._processes]
        return self._outcome(codes)

    def _outcome(self, codes: Sequence[int | None]) -> tuple[int, str | None]:
        """The exit code and the message, from those of the processes that have ended by themselves."""
        first = codes[0]
        if first is not None and first > 0 and first != LOST:
            return first, None if self._shown == 0 else self._last_words(0, first)
        count = len(codes)
        for rank, code in enumerate(codes):
            if code is not None and code < 0:
                return 1, (
                    f"process {rank + 1} of {count} was killed ({_signal(-code)}), and the job has ended; the run can "
                    "be resumed (smskd resume)"
                )
        for rank, code in enumerate(codes):
            if code not in (None, 0, LOST):
                words = self._last_words(rank, code or 1)
                return code or 1, words or f"process {rank + 1} of {count} ended with exit code {code}"
        return 1, "a process of the job has ended before the others"

    def _last_words(self, rank: int, code: int) -> str:
        """The last line that a process has printed on stderr; the lines before it are printed if they tell of a bug."""
        text = self._errors[rank].read_text(encoding="utf-8", errors="replace") if rank != self._shown else ""
        *others, last = [line for line in text.splitlines() if line.strip()] or [""]
        if code != MISTAKE and others:
            print(*others, sep="\n", file=sys.stderr)
        return last.removeprefix("smskd: ")

    def interrupt(self) -> None:
        """Lets the processes end by Ctrl-C."""
        end = time.monotonic() + GRACE
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        while any(process.poll() is None for process in self._processes) and time.monotonic() < end:
            time.sleep(_POLL)

    def end(self) -> None:
        """Ends what is left of the processes."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
                continue
            process.kill()
            process.wait()
        with suppress(OSError):
            self._folder.cleanup()


def run_job(
    command: Sequence[str], count: int, *, watch: Callable[[], None] | None = None, silent: bool = False
) -> tuple[int, str | None]:
    """Runs a job to its end; see :meth:`Job.wait`. An exception that passes through ends its processes.

    Args:
        command: of every process.
        count: of processes.
        watch: is called again and again while it runs.
        silent: see :class:`Job`.
    """
    with _ended_by_sigterm():
        job = Job(command, count, silent=silent)
        try:
            while watch is not None and job.runs:
                watch()
                time.sleep(_POLL)
            return job.wait()
        except KeyboardInterrupt:  # the processes have got it too, unless it was meant for this one alone
            job.interrupt()
            raise
        finally:
            job.end()


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the program by an exception, so that no process is left."""

    def end(number: int, _frame: object) -> NoReturn:
        sys.exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _silent(command: Sequence[str], variables: Mapping[str, str], errors: IO[bytes]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)
