"""The processes of a sweep on this machine."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection, wait
from pathlib import Path

import torch

from smskd.errors import UserError
from smskd.sweeps.beside import Beside
from smskd.sweeps.board import Board
from smskd.sweeps.page import write_sweep_page
from smskd.sweeps.processes import WorkerProcess
from smskd.sweeps.sweep_beside import work_beside
from smskd.sweeps.sweep_worker import Told, work
from smskd.training.host import keep_freed_memory

DEATHS = 3
"""Processes, for each worker, that may be killed before the sweep is given up."""


def train_sweep(
    board: Board, out: Path, workers: int, told: Callable[[Told], None], beside: Beside | None = None
) -> tuple[str, ...]:
    """Trains what is left of a sweep, and writes its page.

    A process that is killed is replaced; an exception that passes through ends all.

    Args:
        board: the sweep.
        out: its folder on this machine.
        workers: the number of processes.
        told: called in this process for each message.
        beside: whether a process trains several runs at a time.

    Returns:
        A sentence for everything that is missing from the page.

    Raises:
        UserError: runs could not be trained; the others are complete.
    """
    deaths = 0
    with ExitStack() as stack:
        busy: dict[Connection, WorkerProcess] = {}

        def start() -> None:
            process = WorkerProcess(_serve, board.place, board.sweep.config.name, str(out), beside)
            busy[stack.enter_context(process).connection] = process

        for _ in range(workers):
            start()
        while busy:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                try:
                    told(busy[ready].receive())
                except EOFError:
                    code = busy.pop(ready).exit_code()
                    deaths += code != 0
                    if deaths > DEATHS * workers:
                        raise UserError(
                            f"{deaths} worker processes have ended, the last with exit code {code}"
                        ) from None
                    if code != 0:
                        start()
    notes = write_sweep_page(out, board.sweep.config.baseline)
    failures = board.failures()
    if failures:
        reasons = "; ".join(dict.fromkeys(failures.values()))
        raise UserError(f"{len(failures)} {'run' if len(failures) == 1 else 'runs'} could not be trained: {reasons}")
    return notes


def _serve(connection: Connection, place: str, name: str, out: str, beside: Beside | None) -> None:
    """The work of a process, until nothing is left or the parent closes the pipe."""
    torch.set_num_threads(1)
    keep_freed_memory(torch.device("cpu"))
    board = Board.join(place, name)
    try:
        if beside is None:
            work(board, Path(out), connection.send)
        else:
            work_beside(board, Path(out), connection.send, beside)
    except ConnectionError:
        sys.exit()
