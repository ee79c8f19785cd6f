"""A run of two epochs on some dozens of digits, which tests of faults train often."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smskd.recipe import Recipe, parse
from smskd.session import Run, begin, reopen
from smskd.training.run import Report
from tests.support import tiny

EPOCHS = 2


def short_recipe(epochs: int = EPOCHS, **runtime: Any) -> Recipe:
    """Plain training on the CPU.

    Args:
        epochs: of the run.
        **runtime: keys of ``runtime``.
    """
    return parse(
        {
            "name": "short",
            "data": {"source": "digits", "subset": {"train": tiny.TRAIN, "test": tiny.TEST}},
            "student": "resnet8_w2",
            "training": {"epochs": epochs, "batch_size": tiny.BATCH},
            "schedule": {"decay_at": []},
            "methods": [],
            "runtime": {"device": "cpu", **runtime},
        }
    )


def reports(run: Run) -> Iterator[Report]:
    """Trains what is left, without a page."""
    return run.train(run.build(), report=False)


def trained(out: Path, **settings: Any) -> Path:
    """The folder of a finished run."""
    list(reports(begin(short_recipe(**settings), out)))
    return out


def resumed(out: Path) -> dict[str, Any]:
    """The outcome of a run after it was resumed."""
    (run,) = reopen(out)
    list(reports(run))
    return tiny.outcome(out)


def stopped(out: Path, after: int, **settings: Any) -> Path:
    """The folder of a run that was stopped after an epoch."""
    training = reports(begin(short_recipe(**settings), out))
    for report in training:
        if getattr(report, "epoch", 0) == after:
            training.close()  # type: ignore[attr-defined]
            break
    return out
