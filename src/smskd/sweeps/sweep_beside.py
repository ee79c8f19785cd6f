"""The work of the process of a sweep that trains several runs at a time."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from smskd.sweeps.beside import Beside
from smskd.sweeps.board import Board, Job
from smskd.sweeps.side_by_side import check_settings, work_side_by_side
from smskd.sweeps.sweep_worker import Told, recipe_of, work_at
from smskd.sweeps.threads import Seat, Task
from smskd.sweeps.workers import Loaded


def work_beside(board: Board, out: Path, told: Callable[[Told], None], beside: Beside) -> None:
    """Trains runs of a sweep beside each other until none is left; see :func:`smskd.sweeps.sweep_worker.work`.

    Args:
        board: the sweep, after :func:`check_beside`.
        out: its folder on this machine.
        told: called in this thread after each epoch and at other moments.
        beside: how many.
    """
    runtime = recipe_of(board, board.examples()[0], out).runtime
    work_side_by_side(_Jobs(board, out), runtime, beside.most, told)


def check_beside(board: Board) -> None:
    """Raises UserError for a sweep whose runs cannot be trained in one process."""
    recipes = [point.recipe(board.sweep) for point in board.examples()]
    check_settings((recipe.runtime, recipe.data) for recipe in recipes)


class _Jobs:
    """The runs that are left of a sweep, as a source of tasks."""

    def __init__(self, board: Board, out: Path) -> None:
        self._board, self._out = board, out
        self._loaded: Loaded = []

    def take(self) -> Task | Literal["wait", "done"]:
        """Claims the next one."""
        job = self._board.next_job()
        return _Task(job, self._board, self._out, self._loaded) if isinstance(job, Job) else job

    def give_back(self, task: Task, *, alone: bool) -> None:
        """Others may claim it; a run whose training has begun has been given back already."""
        assert isinstance(task, _Task)
        self._board.queue.give_back(task.job.number)

    def left(self) -> int | None:
        """The number of runs that nobody has claimed."""
        return self._board.left()


class _Task:
    """A run of a sweep that is trained beside others."""

    def __init__(self, job: Job, board: Board, out: Path, loaded: Loaded) -> None:
        self.job = job
        self._board, self._out, self._loaded = board, out, loaded

    @property
    def folder(self) -> Path:
        return self.job.point.folder

    @property
    def alone(self) -> bool:
        return self.job.alone

    def told(self, sentence: str) -> Told:
        return Told(self.folder, "note", message=sentence)

    def train(self, seat: Seat) -> None:
        work_at(self.job, self._board, self._out, seat.say, self._loaded, reports=seat.reports, again=seat.again)
