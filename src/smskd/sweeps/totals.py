"""What a sweep has cost: epochs that were trained, against the epochs of its runs."""

from dataclasses import dataclass
from pathlib import Path

from smskd.runs.reader import Run, find_finished, training_seconds


@dataclass(frozen=True)
class Totals:
    """Of the finished runs in a folder.

    Attributes:
        runs: their number.
        epochs: that were trained; those of stages that were taken from a store were trained in another run.
        epochs_of_all_runs: that would have been trained without a store.
        seconds: of training. seconds_of_all_runs: likewise.
    """

    runs: int
    epochs: int
    epochs_of_all_runs: int
    seconds: float
    seconds_of_all_runs: float

    @property
    def seconds_per_epoch(self) -> float | None:
        """Of the epochs that were trained; None if none was."""
        return self.seconds / self.epochs if self.epochs else None

    def __str__(self) -> str:
        runs = f"{self.runs} {'run' if self.runs == 1 else 'runs'} finished"
        return (
            f"{runs}: {self.epochs} epochs trained, {self.epochs_of_all_runs} without sharing; "
            f"{self.seconds:.0f} s of training, {self.seconds_of_all_runs:.0f} s without sharing"
        )


def totals(folder: Path) -> Totals:
    """The cost of the finished runs in and below a folder.

    Raises:
        UserError: there is none.
    """
    runs, _ = find_finished([folder])
    return Totals(
        runs=len(runs),
        epochs=sum(map(_trained, runs)),
        epochs_of_all_runs=sum(run.summary["epochs"] for run in runs),
        seconds=sum(run.summary["seconds"] for run in runs),
        seconds_of_all_runs=sum(training_seconds(run.summary) for run in runs),
    )


def _trained(run: Run) -> int:
    own = [stage["epochs"] for stage in run.stages if not stage.get("stored")]
    return sum(last - first + 1 for first, last in own)
