"""Modules that two processes run together."""

import os
import subprocess
import sys
from pathlib import Path

from smskd.distributed.environment import RENDEZVOUS

LONGEST = 1200
"""Seconds after which a job is given up."""


def run_together(module: str, *arguments: str, count: int = 2, meeting: Path | None = None) -> None:
    """Runs a module in several processes to its end; what they print is shown where one of them fails."""
    meeting = meeting or Path(arguments[0]).with_name("meeting")
    command = [sys.executable, "-m", module, *arguments]
    shared = {**os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(count), RENDEZVOUS: str(meeting)}
    processes = [
        subprocess.Popen(command, env={**shared, "RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(count)
    ]
    try:
        errors = [process.communicate(timeout=LONGEST)[1] for process in processes]
        assert [process.returncode for process in processes] == [0] * count, "\n".join(errors)
    finally:
        for process in processes:
            process.kill()
