"""Runs commands one after another within a limit of time; called again, it goes on with those that are not finished."""

import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from smskd.runs.atomic_files import write_text

SHORTEST = 5.0
"""Seconds; a part is not begun with less."""

GRACE = 30.0
"""Seconds in which a part that is interrupted writes its last checkpoint."""


@dataclass(frozen=True)
class Part:
    """A command.

    Attributes:
        name: of its log file.
        command: its words.
        limit: seconds after which it is interrupted.
        folder: in which it is started.
    """

    name: str
    command: Sequence[str]
    limit: float
    folder: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a part.

    Attributes:
        state: ``before``: it was finished by an earlier call; ``interrupted``: its time was over; ``not reached``: none
            was left.
        seconds: that it ran in this call.
    """

    name: str
    state: Literal["finished", "before", "failed", "interrupted", "not reached"]
    seconds: float = 0.0

    def __str__(self) -> str:
        words = {
            "finished": f"finished in {self.seconds:.0f} s",
            "before": "finished by an earlier call",
            "failed": f"failed after {self.seconds:.0f} s; see {self.name}.log",
            "interrupted": f"interrupted after {self.seconds:.0f} s; the same command goes on",
            "not reached": "not reached",
        }
        return f"{self.name}: {words[self.state]}"


def run_parts(parts: Sequence[Part], folder: Path, limit: float) -> list[Outcome]:
    """Runs the parts in their order; a part that fails or is interrupted does not keep the next ones from running.

    Args:
        parts: with different names.
        folder: of the logs, and of a marker for each finished part.
        limit: seconds for all of them.

    Returns:
        An outcome for each part.
    """
    folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + limit
    outcomes = []
    for part in parts:
        outcomes.append(_run(part, folder, end))
        print(outcomes[-1], flush=True)
    return outcomes


def _run(part: Part, folder: Path, end: float) -> Outcome:
    marker = folder / f"{part.name}.finished"
    if marker.exists():
        return Outcome(part.name, "before")
    allowed = min(part.limit, end - time.monotonic() - GRACE)
    if allowed < SHORTEST:
        return Outcome(part.name, "not reached")
    print(f"{part.name}: at most {allowed:.0f} s", flush=True)
    begin = time.monotonic()
    with (folder / f"{part.name}.log").open("ab") as log:
        process = subprocess.Popen(
            part.command, stdout=log, stderr=subprocess.STDOUT, cwd=part.folder, preexec_fn=_takes_interrupts
        )
        code = _waited(process, allowed)
    seconds = time.monotonic() - begin
    if code is None:
        return Outcome(part.name, "interrupted", seconds)
    if code:
        return Outcome(part.name, "failed", seconds)
    write_text(marker, f"{seconds:.1f} s\n")
    return Outcome(part.name, "finished", seconds)


def _takes_interrupts() -> None:
    """A process that a shell has begun in the background ignores SIGINT, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _waited(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The exit code; None after an interruption, or its end by force."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return None
