"""The progress of a sweep: one bar over all its epochs on a terminal, a line for each run elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import TaskID

from smskd.cli.progress import Display
from smskd.sweeps.board import Board
from smskd.sweeps.run_queue import latest
from smskd.sweeps.sweep_worker import Told


class SweepBars:
    """Shows the progress of a sweep that is trained in other processes.

    Args:
        display: of the program.
        board: the sweep.
    """

    def __init__(self, display: Display, board: Board) -> None:
        self._display = display
        self._ended = [attempt for attempt in latest(board.queue.attempts()).values() if attempt.state == "complete"]
        self._finished = len(self._ended)
        self._runs = len(board.plan.points)
        self._done = sum(int(attempt.facts["epochs"]) for attempt in self._ended)
        self._epochs = board.plan.epochs_of_all_runs if board.search is None else board.search.epochs
        self._trained = self._taken = 0
        self._task: TaskID | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The bar is visible within, if the display has bars."""
        bars = self._display.bars
        if bars is None:
            yield
            return
        self._task = bars.add_task("epochs", total=self._epochs, completed=self._done, note=self._note())
        try:
            yield
        finally:
            bars.remove_task(self._task)
            self._task = None

    def update(self, told: Told) -> None:
        """Shows a message of a process."""
        self._trained += told.epochs if told.kind == "epoch" else 0
        self._taken += told.epochs if told.kind == "stored" else 0
        if told.kind == "finished":
            self._finished += 1
            self._display.say(f"{told.run}: {told.message}%  ({self._note()})")
        elif told.kind == "pruned":
            self._display.say(f"{told.run}: stopped early")
        elif told.kind == "note":
            self._display.say(f"{told.run}: note: {told.message}")
        elif told.kind in ("failed", "waiting"):
            self._display.say(f"{told.run}: {told.message}")
        if self._display.bars is not None and self._task is not None:
            self._display.bars.update(self._task, advance=told.epochs, note=self._note())

    def _note(self) -> str:
        of = f" of {self._runs}" if self._runs else ""
        return f"{self._finished}{of} runs finished, {self._trained} epochs trained, {self._taken} taken from the store"
