"""What training yields after each epoch, and how progress within an epoch is shown."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from smskd.training.accuracy import Accuracy, Transitions

Track = Callable[[Iterable[Any], int, str], Iterable[Any]]
"""Wraps the batches of an epoch, or the steps of other work, to show progress: (items, their number, a description).
The description of an epoch of training begins with ``epoch``."""


def untracked(items: Iterable[Any], total: int, what: str) -> Iterable[Any]:
    """Shows nothing."""
    return items


@dataclass(frozen=True)
class TeacherReport:
    """The test accuracy of the teacher, measured once, before training.

    Attributes:
        top1, top5: percent; top-5 None with fewer than six classes.
        seconds: that it took.
        chance: the accuracy of guessing, in percent, if that of the teacher is hardly better; else None.
    """

    top1: float
    top5: float | None
    seconds: float
    chance: float | None = None

    def __str__(self) -> str:
        near = "" if self.chance is None else f" is hardly better than guessing ({self.chance:.2f}%): check its weights"
        return f"teacher  test {self.top1:.2f}%{near}"


@dataclass(frozen=True)
class StoreReport:
    """What the store of stages has to do with a stage that is about to be trained.

    Attributes:
        stage: counted from 1. methods: joined, or ``plain training``.
        first, last: its epochs.
        waits_for: the process that trains this stage now; None: the stage is taken from the store.
        seconds: of training that the stage took where it was trained.
    """

    stage: int
    methods: str
    first: int
    last: int
    waits_for: str | None = None
    seconds: float = 0.0

    def __str__(self) -> str:
        stage = f"stage {self.stage} ({self.methods})"
        if self.waits_for is not None:
            return f"{stage} is being trained by {self.waits_for}; waiting for it"
        return f"{stage} is taken from the store: epochs {self.first} to {self.last}, {self.seconds:.0f} s of training"


@dataclass(frozen=True)
class CacheReport:
    """Whether a teacher's cache was filled before the epochs that read it, and why.

    Attributes:
        filled: whether it was.
        filling, misses: passes of the teacher that filling takes, and that the images missing in the epochs to come
            are expected to take.
        chunk: images in a pass.
        epochs, later: that will read the cache, of this run, and of runs that follow as far as is known.
        failure: what kept a cache from being filled that was worth it; None: nothing.
        seconds: that were spent.
    """

    filled: bool
    filling: int
    misses: int
    chunk: int
    epochs: int
    later: int = 0
    failure: str | None = None
    seconds: float = 0.0

    def __str__(self) -> str:
        took = f" in {self.seconds:.1f} s" if self.filled else ""
        begun = f"The teacher's cache was {'' if self.filled else 'not '}filled ahead{took}:"
        if self.failure is not None:
            return f"{begun} {self.failure}."
        later = f" and {self.later} of later runs" if self.later else ""
        return (
            f"{begun} that takes {self.filling:,} passes of {self.chunk} images, and the images missing in "
            f"{self.epochs} epochs{later} would take about {self.misses:,}."
        )


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
        skipped_steps: steps that were not taken because their loss or gradients were not finite; None, and not in the
            line, unless ``runtime.on_nan`` is ``skip``.
        test, validation: the accuracies, sample by sample.
        transitions: of the test samples, from the student that was carried into the stage to the one after this epoch;
            None, and not in the line, in the first stage.
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
    skipped_steps: int | None = None
    transitions: Transitions | None = None

    def __str__(self) -> str:
        losses = "  ".join(f"{name} {value:.4f}" for name, value in self.losses.items())
        top1 = f"train {self.train_top1:.2f}%  test {self.test_top1:.2f}%"
        if self.validation_top1 is not None:
            top1 += f"  validation {self.validation_top1:.2f}%"
        if self.cache_hits is not None:
            top1 += f"  cache {self.cache_hits:.0%}"
        if self.skipped_steps:
            top1 += f"  skipped {self.skipped_steps} steps"
        return f"epoch {self.epoch}  stage {self.stage}  lr {self.learning_rate:.3g}  {losses}  {top1}"

    def as_dict(self) -> dict[str, Any]:
        """The values as JSON has them."""
        values = {name: value for name, value in asdict(self).items() if name not in ("test", "validation")}
        optional = ["cache_hits", "skipped_steps", "transitions"]
        if self.validation is None:
            optional += ["validation_top1", "validation_top5"]
        return {name: value for name, value in values.items() if value is not None or name not in optional}
