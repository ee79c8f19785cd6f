"""Training runs that have a folder, several at a time, each in a worker process.

A worker takes one run after another and has one thread, so that as many workers as there are cores do not slow each
other down. It reports through a pipe of its own; when the pipe is closed, it ends after the current epoch, and the
run can be resumed.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Literal

import torch

from smskd.build import Provided
from smskd.config.data import DataConfig
from smskd.data import Dataset, TextDataset
from smskd.errors import UserError
from smskd.session import Run, reopen
from smskd.sweeps.processes import WorkerProcess
from smskd.training.host import keep_freed_memory
from smskd.training.reports import EpochReport

Loaded = list[tuple[DataConfig, Dataset | TextDataset]]
"""Data sets that were loaded, with their settings."""


@dataclass(frozen=True)
class Progress:
    """A message of a worker.

    Attributes:
        folder: of the run.
        kind: ``epoch``: an epoch has ended; ``finished``: the run is complete; ``failed``: it cannot be trained.
        message: the mistake, if it failed.
    """

    folder: Path
    kind: Literal["epoch", "finished", "failed"]
    message: str = ""


def train_in_processes(folders: Sequence[Path], workers: int, on_progress: Callable[[Progress], None]) -> None:
    """Trains the runs in these folders, without a page for each; finished runs are not trained again.

    A run that cannot be trained, or whose worker is killed, does not keep the others from training. An exception that
    passes through, Ctrl-C among them, ends the workers; all runs can then be resumed.

    Args:
        folders: of the runs, in the order in which they are started.
        workers: the number of processes, at least 1.
        on_progress: called in this process after each epoch and each run.

    Raises:
        UserError: runs could not be trained; the others are complete.
    """
    waiting, failed = list(folders), list[str]()
    with ExitStack() as stack:
        busy: dict[Connection, _Worker] = {}

        def start(worker: _Worker | None) -> None:
            """Gives the next run to a worker; None: to a new one."""
            if waiting:
                worker = worker or stack.enter_context(_Worker())
                worker.train(waiting.pop(0), len(waiting))
                busy[worker.connection] = worker

        for _ in range(min(workers, len(waiting))):
            start(None)
        while busy:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                worker = busy[ready]
                progress = worker.progress()
                if progress.kind != "failed":
                    on_progress(progress)
                else:
                    failed.append(progress.message)
                if progress.kind != "epoch":
                    del busy[ready]
                    start(worker if worker.lives else None)
    if failed:
        message = "; ".join(dict.fromkeys(failed))
        raise UserError(
            message if len(folders) == 1 else f"{len(failed)} of {len(folders)} runs could not be trained: {message}"
        )


class _Worker(WorkerProcess):
    """A worker process, seen from its parent.

    Attributes:
        lives: whether it takes further runs.
    """

    def __init__(self) -> None:
        super().__init__(_serve)
        self.lives = True
        self._folder = Path()

    def train(self, folder: Path, following: int) -> None:
        """Starts with a run, which so many others follow."""
        self._folder = folder
        with suppress(OSError):  # a process that has just ended is noticed by its next message
            self.connection.send((folder, following))

    def progress(self) -> Progress:
        """The next message; blocks until there is one. If the process has ended, the run has failed."""
        try:
            message = self.receive()
        except EOFError:
            self.lives = False
            reason = f"the process that trained {self._folder} ended with exit code {self.exit_code()}"
            return Progress(self._folder, "failed", reason)
        assert isinstance(message, Progress)
        return message


def _serve(connection: Connection) -> None:
    """The work of a worker process: one run after another until the parent closes the pipe."""
    torch.set_num_threads(1)
    keep_freed_memory(torch.device("cpu"))
    loaded: Loaded = []
    while True:
        try:
            folder, following = connection.recv()
            _train(folder, following, connection, loaded)
        except (EOFError, ConnectionError):  # the parent has closed the pipe
            sys.exit()


def _train(folder: Path, following: int, connection: Connection, loaded: Loaded) -> None:
    """Trains a run, which so many others follow, and reports each epoch and the end."""
    try:
        (run,) = reopen(folder, trust=True)  # the parent process has begun it, or has asked
        run = replace(run, epochs_after=following * run.recipe.epochs)
        config = run.build(Provided(dataset=dataset_of(run, loaded)))
        for report in run.train(config, report=False):
            if isinstance(report, EpochReport):
                connection.send(Progress(folder, "epoch"))
    except ConnectionError:
        raise
    except UserError as error:
        connection.send(Progress(folder, "failed", str(error)))
    except OSError as error:
        connection.send(Progress(folder, "failed", f"{folder}: {error}"))
    else:
        connection.send(Progress(folder, "finished"))


def dataset_of(run: Run, loaded: Loaded) -> Dataset | TextDataset:
    """The data of a run; runs with the same data share them."""
    for config, dataset in loaded:
        if config == run.recipe.data:
            return dataset
    loaded.append((run.recipe.data, run.load()))
    return loaded[-1][1]
