"""The progress of training: a bar with an estimate on a terminal, lines elsewhere."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from smskd.strategies.resolved import ResolvedStage
from smskd.training.pretraining import PretrainingReport
from smskd.training.reports import EpochReport, StoreReport, Track, untracked
from smskd.training.run import Report

Item = TypeVar("Item")

ESTIMATE_FROM = 1800.0
"""Seconds of training on which the estimate is based: an epoch may take minutes."""

SILENCE = 30.0
"""Seconds after which a line is printed where there are no bars."""


class Display:
    """Shows the progress of runs, one at a time.

    Args:
        console: to print to; it has bars if it is an interactive terminal.
        quiet: print nothing.
        clock: gives the time in seconds.
    """

    def __init__(self, console: Console, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console
        self.quiet = quiet
        self.bars: Progress | None = None
        self._clock = clock
        self._said = clock()
        self._name = ""
        self._beginning = ""
        """A line that is printed when training begins: a run may be refused until then."""
        self._run: TaskID | None = None
        self._share = 1.0
        """Of an epoch's time, as much as is spent on training; the rest on tests."""
        self._trained = (0.0, 0.0)
        """When training within the present epoch began, and ended."""
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
        self._said = self._clock()
        if not self.quiet:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def reading(self, items: Iterable[Item], total: int) -> Iterable[Item]:
        """The items, with progress of the reading of images."""
        return self.counted(items, total, "reading images")

    def counted(self, items: Iterable[Item], total: int, what: str) -> Iterable[Item]:
        """The items, with progress of work that is not part of a run's training."""
        if self.quiet:
            return items
        return self._lines(items, total, what) if self.bars is None else self._with_bar(items, total, what)

    def epochs(self, reports: Iterable[Report], name: str, stages: tuple[ResolvedStage, ...], done: int) -> None:
        """Trains a run by consuming its reports, and shows each.

        Args:
            reports: of the run; iterating trains it.
            name: of the run.
            stages: of the run.
            done: epochs that were trained before.
        """
        self._name, self._share = name, 1.0
        last = stages[-1].last
        if self.bars is None:
            self._beginning = f"{name}  begins with epoch {done + 1} of {last}" if done < last else ""
            for report in reports:
                self._begin()
                self.say(f"{name}  {report}")
            return
        task = self._run = self.bars.add_task(escape(name), total=last, completed=done, note="")
        try:
            for report in reports:
                self._show(task, report, stages)
        finally:
            self.bars.remove_task(task)
            self._run = None

    @property
    def track(self) -> Track:
        """Wraps the batches of an epoch, or the steps of other work, to show them."""
        if self.quiet:
            return untracked
        return self._within_lines if self.bars is None else self._within_run

    def _begin(self) -> None:
        """Prints the line of a run that begins, once."""
        if self._beginning:
            self.say(self._beginning)
            self._beginning = ""

    def _show(self, task: TaskID, report: Report, stages: tuple[ResolvedStage, ...]) -> None:
        assert self.bars is not None
        if isinstance(report, EpochReport):
            begun, ended = self._trained
            self._share = (ended - begun) / max(self._clock() - begun, 1e-9)
            methods = "+".join(stages[report.stage - 1].names) or "plain"
            note = f"stage {report.stage} {methods} {_accuracy(report)}"
            self.bars.update(task, completed=report.epoch, note=escape(note), refresh=True)
        elif isinstance(report, StoreReport):
            self.say(f"{self._name}  {report}")
            if report.waits_for is None:
                self.bars.update(task, completed=report.last)
        elif isinstance(report, PretrainingReport):
            note = f"pretraining {report.method} {report.epoch}/{report.epochs}"
            self.bars.update(task, note=escape(note), refresh=True)
        else:
            self.say(f"{self._name}  {report}")

    def _within_run(self, items: Iterable[Any], total: int, what: str) -> Iterable[Any]:
        """Items of a run: an epoch of training advances the bar, other work is named beside it."""
        assert self.bars is not None
        trains, begun = what.startswith("epoch"), self._clock()
        for number, item in enumerate(items, start=1):
            if self._run is not None and not trains:
                self.bars.update(self._run, note=escape(f"{what} {number}/{total}"))
            yield item
            if self._run is not None and trains:
                self.bars.advance(self._run, self._share / total)
        if trains:
            self._trained = begun, self._clock()

    def _within_lines(self, items: Iterable[Any], total: int, what: str) -> Generator[Any, None, None]:
        """Items of a run, whose first work is the beginning of training."""
        self._begin()
        yield from self._lines(items, total, what)

    def _lines(self, items: Iterable[Any], total: int, what: str) -> Generator[Any, None, None]:
        """The items, with a line whenever nothing has been printed for some time."""
        for number, item in enumerate(items, start=1):
            yield item
            if self._clock() - self._said >= SILENCE:
                self.say(f"{self._name}  {what}: {number} of {total}".strip())

    def _with_bar(self, items: Iterable[Item], total: int, what: str) -> Generator[Item, None, None]:
        assert self.bars is not None
        task = self.bars.add_task(escape(what), total=total, note="")
        try:
            for item in items:
                yield item
                self.bars.advance(task)
        finally:
            self.bars.remove_task(task)


def _accuracy(report: EpochReport) -> str:
    """On the validation split where there is one, else on the test samples."""
    if report.validation_top1 is not None:
        return f"validation {report.validation_top1:.1f}%"
    return f"test {report.test_top1:.1f}%"
