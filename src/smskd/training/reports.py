"""What training yields after each epoch, and how progress within an epoch is shown."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.training.accuracy import Accuracy

Track = Callable[[Iterable[Batch], int, str], Iterable[Batch]]
"""Wraps the batches of an epoch to show progress: (batches, their number, a description)."""


def untracked(batches: Iterable[Batch], total: int, what: str) -> Iterable[Batch]:
    """Shows nothing."""
    return batches


@dataclass(frozen=True)
class EpochReport:
    """An epoch of training; a line of ``metrics.jsonl``, without the accuracies sample by sample.

    Attributes:
        epoch, stage: counted from 1, epochs over the whole run.
        losses: the mean of each weighted part over the epoch's samples, and their ``total``.
        train_top1, train_top5, test_top1, test_top5: percent; top-5 None with fewer than six classes.
        validation_top1, validation_top5: on the validation split; None, and not in the line, where there is none.
        images_per_second: of training. seconds: of the whole epoch.
        cache_hits: share of the samples whose teacher outputs came from the cache; None, and not in the line, without a
            cache.
        test, validation: the accuracies, sample by sample.
    """

    epoch: int
    stage: int
    learning_rate: float
    losses: dict[str, float]
    train_top1: float
    train_top5: float | None
    test_top1: float
    test_top5: float | None
    images_per_second: float
    seconds: float
    test: Accuracy
    validation: Accuracy | None = None
    validation_top1: float | None = None
    validation_top5: float | None = None
    cache_hits: float | None = None

    def __str__(self) -> str:
        losses = "  ".join(f"{name} {value:.4f}" for name, value in self.losses.items())
        top1 = f"train {self.train_top1:.2f}%  test {self.test_top1:.2f}%"
        if self.validation_top1 is not None:
            top1 += f"  validation {self.validation_top1:.2f}%"
        if self.cache_hits is not None:
            top1 += f"  cache {self.cache_hits:.0%}"
        return f"epoch {self.epoch}  stage {self.stage}  lr {self.learning_rate:.3g}  {losses}  {top1}"

    def as_dict(self) -> dict[str, Any]:
        """The values as JSON has them."""
        values = {name: value for name, value in asdict(self).items() if name not in ("test", "validation")}
        optional = (
            ["cache_hits"] if self.validation is not None else ["cache_hits", "validation_top1", "validation_top5"]
        )
        return {name: value for name, value in values.items() if value is not None or name not in optional}


def check_finite(losses: dict[str, float], broken: Sequence[str], when: str) -> None:
    """Raises UserError, with the names of the parts, if a loss is not finite."""
    if not all(map(math.isfinite, losses.values())):
        raise UserError(
            f"the loss is no longer finite {when} ({', '.join(broken)}): "
            "lower optimizer.learning_rate or that method's weight"
        )
