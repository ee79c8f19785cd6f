"""Runs of a sweep that several processes train together."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from smskd.distributed.launch import run_job
from smskd.errors import UserError
from smskd.runs.file_names import METRICS
from smskd.runs.metrics_file import whole_lines
from smskd.session import Run


class _EnoughError(Exception):
    """The run goes no further."""


def train_together(run: Run, on_epoch: Callable[[Mapping[str, Any]], bool]) -> bool:
    """Trains a run by as many processes as its recipe says.

    Args:
        run: that has a folder.
        on_epoch: is called with the metrics of each epoch; whether training goes on.

    Returns:
        Whether the run has come to its end.

    Raises:
        UserError: it cannot be trained.
    """
    file = run.folder.path / METRICS
    seen = len(whole_lines(file)) if file.exists() else 0

    def watch() -> None:
        nonlocal seen
        lines = whole_lines(file)[seen:] if file.exists() else []
        for line in lines:
            seen += 1
            if not on_epoch(line):
                raise _EnoughError

    command = [sys.executable, "-m", "smskd", "resume", str(run.folder.path), "--trust", "--quiet"]
    try:
        code, message = run_job(command, run.recipe.runtime.processes, watch=watch, silent=True)
    except _EnoughError:
        return False
    if code:
        raise UserError(f"{run.folder.path}: {message or f'its processes ended with exit code {code}'}")
    watch()
    return True
