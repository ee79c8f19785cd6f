"""The progress of training: a bar with an estimate on a terminal, a line per epoch elsewhere."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from smskd.interfaces.batch import Batch
from smskd.strategies.resolved import ResolvedStage
from smskd.training.reports import EpochReport, Track, untracked
from smskd.training.run import Report

Item = TypeVar("Item")

ESTIMATE_FROM = 1800.0
"""Seconds of training on which the estimate is based: an epoch may take minutes."""


class Display:
    """Shows the progress of runs, one at a time.

    Args:
        console: to print to; it has bars if it is an interactive terminal.
        quiet: print nothing.
    """

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self.console = console
        self.quiet = quiet
        self.bars: Progress | None = None
        self._run: TaskID | None = None
        if console.is_interactive and not quiet:
            self.bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=12),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(compact=True),
                TextColumn("left"),
                console=console,
                transient=True,
                speed_estimate_period=ESTIMATE_FROM,
            )

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Within this context, bars are visible."""
        if self.bars is None:
            yield
        else:
            with self.bars:
                yield

    def say(self, text: str) -> None:
        """Prints a line."""
        if not self.quiet:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def reading(self, items: Iterable[Item], total: int) -> Iterable[Item]:
        """The items, with a bar for the reading of images."""
        if self.bars is None:
            return items
        return self._counted(self.bars, items, total)

    def epochs(self, reports: Iterable[Report], name: str, stages: tuple[ResolvedStage, ...], done: int) -> None:
        """Trains a run by consuming its reports, and shows each.

        Args:
            reports: of the run; iterating trains it.
            name: of the run.
            stages: of the run.
            done: epochs that were trained before.
        """
        if self.bars is None:
            for report in reports:
                self.say(f"{name}  {report}")
            return
        task = self._run = self.bars.add_task(escape(name), total=stages[-1].last, completed=done, note="")
        try:
            for report in reports:
                if isinstance(report, EpochReport):
                    methods = "+".join(stages[report.stage - 1].names) or "plain"
                    note = f"stage {report.stage} {methods} {_accuracy(report)}"
                    self.bars.update(task, completed=report.epoch, note=escape(note), refresh=True)
                else:
                    note = f"pretraining {report.method} {report.epoch}/{report.epochs}"
                    self.bars.update(task, note=escape(note), refresh=True)
        finally:
            self.bars.remove_task(task)
            self._run = None

    @property
    def track(self) -> Track:
        """Wraps the batches of an epoch to advance the bar."""
        return untracked if self.bars is None else self._within_epoch

    def _within_epoch(self, batches: Iterable[Batch], total: int, what: str) -> Iterable[Batch]:
        counts = not what.startswith("pretraining")
        for batch in batches:
            yield batch
            if counts and self.bars is not None and self._run is not None:
                self.bars.advance(self._run, 1 / total)

    @staticmethod
    def _counted(bars: Progress, items: Iterable[Item], total: int) -> Generator[Item, None, None]:
        task = bars.add_task("reading images", total=total, note="")
        try:
            for item in items:
                yield item
                bars.advance(task)
        finally:
            bars.remove_task(task)


def _accuracy(report: EpochReport) -> str:
    """On the validation split where there is one, else on the test samples."""
    if report.validation_top1 is not None:
        return f"validation {report.validation_top1:.1f}%"
    return f"test {report.test_top1:.1f}%"
