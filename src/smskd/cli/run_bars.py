"""The progress of several runs at a time: one bar with an estimate on a terminal, a line for each finished run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.progress import TaskID

from smskd.cli.progress import Display
from smskd.cli.run_results import epochs_done
from smskd.runs.folder import RunFolder
from smskd.session import Run
from smskd.sweeps.workers import Progress


class RunBars:
    """Shows the progress of runs that are trained in other processes.

    Args:
        display: of the program.
        runs: to be trained or resumed.
    """

    def __init__(self, display: Display, runs: Sequence[Run]) -> None:
        self._display = display
        self._names = {run.folder.path: f"{run.recipe.name} seed {run.recipe.runtime.seed}" for run in runs}
        self._epochs = sum(run.recipe.training.epochs for run in runs)
        self._done = sum(epochs_done(run) for run in runs)
        self._finished = 0
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

    def update(self, progress: Progress) -> None:
        """Shows an epoch or the end of a run."""
        if progress.kind == "finished":
            self._finished += 1
            summary = RunFolder(progress.folder).load_summary()
            name, top1 = self._names[progress.folder], summary["student"]["top1_last"]
            self._display.say(f"{name}: top-1 {top1:.2f}% (last epoch)")
        if self._display.bars is not None and self._task is not None:
            advance = 1 if progress.kind == "epoch" else 0
            self._display.bars.update(self._task, advance=advance, note=self._note())

    def _note(self) -> str:
        return f"{self._finished} of {len(self._names)} runs finished"
