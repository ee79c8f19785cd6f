"""The loop. It knows nothing of distillation: it sees an objective that gives losses."""

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from smskd.config.pace import Pace
from smskd.config.stage import Stage
from smskd.data import Loader, mix
from smskd.errors import UserError
from smskd.interfaces.batch import Batch, Progress
from smskd.timing import sampled_steps
from smskd.training.accuracy import TOP5_CLASSES, Accuracy, evaluate
from smskd.training.ema import ExponentialMovingAverage
from smskd.training.metrics import EpochMetrics
from smskd.training.optimizer import learning_rate, set_learning_rate
from smskd.training.step import Step

Track = Callable[[Iterable[Batch], int, str], Iterable[Batch]]
"""Wraps the batches of an epoch, to show progress: (batches, how many, what for)."""


def untracked(batches: Iterable[Batch], total: int, what: str) -> Iterable[Batch]:
    """Shows nothing."""
    return batches


@dataclass(frozen=True)
class EpochReport:
    """What happened in an epoch; the line of ``metrics.jsonl``, but for ``test``.

    Attributes:
        epoch, stage: counted from 1, epochs over the whole run.
        losses: the mean of each weighted part over the epoch's samples, and their ``total``.
        train_top1, train_top5, test_top1, test_top5: percent; top-5 None with fewer than six classes.
        images_per_second: of training. seconds: of the whole epoch.
        cache_hits: of the samples for which the teacher was asked, the share that its cache held already; None, and not
            in the line, without a cache.
        test: the accuracy on the test pictures, sample by sample.
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
    cache_hits: float | None = None

    def __str__(self) -> str:
        losses = "  ".join(f"{name} {value:.4f}" for name, value in self.losses.items())
        top1 = f"train {self.train_top1:.2f}%  test {self.test_top1:.2f}%"
        if self.cache_hits is not None:
            top1 += f"  cache {self.cache_hits:.0%}"
        return f"epoch {self.epoch}  stage {self.stage}  lr {self.learning_rate:.3g}  {losses}  {top1}"

    def as_dict(self) -> dict[str, Any]:
        """The values as JSON has them."""
        values = {name: value for name, value in asdict(self).items() if name != "test"}
        if self.cache_hits is None:
            del values["cache_hits"]
        return values


def fit(
    step: Step,
    train: Loader,
    test: Loader,
    *,
    stage: Stage,
    number: int,
    first: int,
    pace: Pace,
    average: ExponentialMovingAverage | None = None,
    track: Track = untracked,
) -> Iterator[EpochReport]:
    """Trains the epochs of a stage from ``first`` on, and yields a report after each."""
    objective = step.objective
    classes = objective.student_layout.classes
    for epoch in range(first, stage.last + 1):
        started = time.perf_counter()
        torch.manual_seed(mix(pace.seed, epoch))
        rate = learning_rate(pace.optimizer.learning_rate, pace.schedule, pace.epochs, stage, epoch)
        set_learning_rate(step.optimizer, rate)
        batches = train.epoch(epoch, Progress(epoch - stage.first + 1, stage.epochs), objective.views)
        timed = sampled_steps(len(train), step.ahead) if epoch == stage.first else ()
        sums = train_batches(step, track(batches, len(train), f"epoch {epoch}"), average, timed=timed)
        cache_hits = objective.cache.share_of_hits() if objective.cache else None
        trained = time.perf_counter()
        with step.compute.autocast(step.device):
            accuracy = evaluate(objective.predictor, test.epoch(0), classes=classes)
        losses, top1, top5 = sums.means()
        check_finite(losses, sums.first_broken(), f"in epoch {epoch}")
        yield EpochReport(
            epoch=epoch,
            stage=number,
            learning_rate=rate,
            losses=losses,
            train_top1=top1,
            train_top5=top5 if classes >= TOP5_CLASSES else None,
            test_top1=accuracy.top1,
            test_top5=accuracy.top5,
            images_per_second=round(sums.samples / (trained - started), 1),
            seconds=round(time.perf_counter() - started, 3),
            test=accuracy,
            cache_hits=cache_hits,
        )


def train_batches(
    step: Step,
    batches: Iterable[Batch],
    average: ExponentialMovingAverage | None = None,
    *,
    timed: Collection[int] = (),
) -> EpochMetrics:
    """Trains on some batches.

    Args:
        step: trains on one.
        batches: of an epoch, or some of them.
        average: takes every step's weights in.
        timed: numbers of the steps, from 0, whose parts the step's clock times.
    """
    step.objective.train()
    sums = EpochMetrics()

    def train(batch: Batch) -> None:
        losses = step(batch)
        sums.add(losses.parts, losses.logits, batch.y)

    train_on = step.recorded(train, timed=bool(timed))
    for batch in step.clock.steps(step.precompute(batches), timed):
        train_on(batch)
        sums.samples += len(batch.y)
        if average is not None:
            average.update(step.objective.predictor)
    return sums


def check_finite(losses: dict[str, float], broken: Sequence[str], when: str) -> None:
    """Raises UserError, which names the broken parts, if a loss is not finite."""
    if not all(map(math.isfinite, losses.values())):
        raise UserError(
            f"the loss is no longer finite {when} ({', '.join(broken)}): "
            "lower optimizer.learning_rate or that method's weight"
        )
