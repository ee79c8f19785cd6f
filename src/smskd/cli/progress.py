"""Showing how training goes: bars with an estimate on a terminal, a plain line an epoch elsewhere."""

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
"""Seconds of training that an estimate looks back on: an epoch may take minutes."""


class Display:
    """Shows the epochs of a run.

    Args:
        console: where to.
        quiet: show nothing.
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
        """Bars are visible within."""
        if self.bars is None:
            yield
        else:
            with self.bars:
                yield

    def say(self, text: str) -> None:
        """A line for the user."""
        if not self.quiet:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def reading(self, items: Iterable[Item], total: int) -> Iterable[Item]:
        """Shows the reading of pictures."""
        if self.bars is None:
            return items
        return self._counted(self.bars, items, total)

    def epochs(self, reports: Iterable[Report], name: str, stages: tuple[ResolvedStage, ...], done: int) -> None:
        """Trains, by going through the reports."""
        if self.bars is None:
            for report in reports:
                self.say(f"{name}  {report}")
            return
        task = self._run = self.bars.add_task(escape(name), total=stages[-1].last, completed=done, note="")
        try:
            for report in reports:
                if isinstance(report, EpochReport):
                    methods = "+".join(stages[report.stage - 1].names) or "plain"
                    note = f"stage {report.stage} {methods} test {report.test_top1:.1f}%"
                    self.bars.update(task, completed=report.epoch, note=escape(note), refresh=True)
                else:
                    note = f"pretraining {report.method} {report.epoch}/{report.epochs}"
                    self.bars.update(task, note=escape(note), refresh=True)
        finally:
            self.bars.remove_task(task)
            self._run = None

    @property
    def track(self) -> Track:
        """Moves the bar within an epoch."""
        return untracked if self.bars is None else self._within_epoch

    def _within_epoch(self, batches: Iterable[Batch], total: int, what: str) -> Iterable[Batch]:
        counts = not what.startswith("pretraining")
        for batch in batches:
            yield batch
            if counts and self.bars is not None and self._run is not None:
                self.bars.advance(self._run, 1 / total)

    @staticmethod
    def _counted(bars: Progress, items: Iterable[Item], total: int) -> Generator[Item, None, None]:
        task = bars.add_task("reading pictures", total=total, note="")
        try:
            for item in items:
                yield item
                bars.advance(task)
        finally:
            bars.remove_task(task)
