"""Runs that are trained beside each other: their progress and their results."""

from rich.progress import TaskID

from smskd.cli.progress import Display
from smskd.cli.run_results import epochs_done, name_of, say_result
from smskd.errors import UserError
from smskd.session import Run
from smskd.sweeps.side_by_side import Message, train_side_by_side
from smskd.sweeps.workers import Loaded
from smskd.training.reports import EpochReport, StoreReport


def train_beside(runs: list[Run], display: Display, failed: list[UserError], most: int | None) -> None:
    """Trains runs, several at a time; what keeps one of them from training is added to the errors.

    Args:
        runs: to be trained or resumed.
        display: of the progress.
        failed: errors.
        most: runs at a time; None: as many as fit.

    Raises:
        UserError: the first run is new and cannot begin; then none has.
    """
    loaded: Loaded = []
    ready = []
    for run in runs:
        try:
            if all(config != run.recipe.data for config, _ in loaded):
                loaded.append((run.recipe.data, run.load(display.reading)))
            ready.append(run)
        except UserError as error:
            if run.fresh:  # a mistake in the recipe, which the others share
                raise
            failed.append(error)
    board = _Board(ready, display)
    if ready:
        train_side_by_side(ready, loaded, most, board.show)
    failed.extend(board.failed)
    if board.bug is not None:
        raise board.bug


class _Board:
    """Shows the messages of runs: lines, and on a terminal a bar for all of them."""

    def __init__(self, runs: list[Run], display: Display) -> None:
        self.failed: list[UserError] = []
        self.bug: BaseException | None = None
        """Any other exception that a run has failed with: the others are trained before it is raised."""
        self._display = display
        self._runs = len(runs)
        self._finished = 0
        self._begun = False
        self._task: TaskID | None = None
        if display.bars is not None:
            epochs, done = sum(run.recipe.epochs for run in runs), sum(map(epochs_done, runs))
            self._task = display.bars.add_task("epochs", total=epochs, completed=done, note=self._note())

    def show(self, message: Message) -> None:
        """Shows one; the page of a run that is complete is made."""
        run, content, display = message.run, message.content, self._display
        if message.kind == "failed":
            self._fail(run, content)
        elif message.kind == "finished":
            self._finished += 1
            run.make_missing_page()
            say_result(run, display)
        elif message.kind == "note":
            display.say(f"{name_of(run)}: note: {content}")
        elif display.bars is None or not isinstance(content, EpochReport):
            display.say(f"{name_of(run)}  {content}")
        self._begun = self._begun or isinstance(content, EpochReport)
        if display.bars is not None and self._task is not None:
            display.bars.update(self._task, advance=_epochs(content), note=self._note())

    def _fail(self, run: Run, error: object) -> None:
        if isinstance(error, UserError):
            if run.fresh and not self._begun:  # a mistake in the recipe, which the others share
                raise error
            self._display.say(f"{name_of(run)}: {error}")
            self.failed.append(error)
        elif isinstance(error, BaseException):
            self.bug = self.bug or error

    def _note(self) -> str:
        return f"{self._finished} of {self._runs} runs finished"


def _epochs(content: object) -> int:
    if isinstance(content, StoreReport):
        return 0 if content.waits_for is not None else content.last - content.first + 1
    return int(isinstance(content, EpochReport))
