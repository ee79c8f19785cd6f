"""Showing how training goes: bars with an estimate on a terminal, a plain line an epoch elsewhere."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from smskd.engine.fit import EpochReport
from smskd.engine.run import Report
from smskd.engine.stage import Stage
from smskd.engine.track import Track, untracked
from smskd.types import Batch

Item = TypeVar("Item")


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
        if console.is_terminal and not quiet:
            self.bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(elapsed_when_finished=False),
                console=console,
                transient=True,
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
            self.console.print(text, highlight=False, soft_wrap=True)

    def reading(self, items: Iterable[Item], total: int) -> Iterable[Item]:
        """Shows the reading of pictures."""
        if self.bars is None:
            return items
        return self._tracked(self.bars, items, total, "reading pictures")

    def epochs(self, reports: Iterable[Report], name: str, stages: tuple[Stage, ...], done: int) -> None:
        """Trains, by going through the reports."""
        last = stages[-1].last
        task = None
        if self.bars is not None:
            task = self.bars.add_task(name, total=last, completed=done, note="")
        for report in reports:
            if self.bars is not None and task is not None:
                if isinstance(report, EpochReport):
                    methods = "+".join(stages[report.stage - 1].names) or "plain"
                    note = f"stage {report.stage} {methods}  top-1 {report.test_top1:.2f}%"
                    self.bars.update(task, completed=report.epoch, note=note)
                else:
                    self.bars.update(task, note=f"preparing {report.method} {report.epoch}/{report.epochs}")
            elif not self.quiet:
                self.console.print(f"{name}  {report}", highlight=False, soft_wrap=True)
        if self.bars is not None and task is not None:
            self.bars.remove_task(task)

    @property
    def track(self) -> Track:
        """Shows the batches of an epoch."""
        if self.bars is None:
            return untracked
        bars = self.bars

        def tracked(batches: Iterable[Batch], total: int, what: str) -> Iterable[Batch]:
            return self._tracked(bars, batches, total, what)

        return tracked

    @staticmethod
    def _tracked(bars: Progress, items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
        task = bars.add_task(f"[dim]{what}", total=total, note="")
        try:
            for item in items:
                yield item
                bars.advance(task)
        finally:
            bars.remove_task(task)
