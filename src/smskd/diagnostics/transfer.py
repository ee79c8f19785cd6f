"""What a stage changes in what the student knows: samples retained, forgotten, learned and never known."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.stats import binomtest
from torch import Tensor

from smskd.training.accuracy import Transitions, transitions

LEVEL = 0.05
"""Of the test for negative transfer."""


@dataclass(frozen=True)
class Transfer:
    """From the student at the start of a stage to the one at its end.

    Attributes:
        all: over all samples.
        by_class: by name of the class, in the order of the classes.
        forgotten: positions in the data of the samples that were right before and are wrong after, ascending.
        mistaken_for: the class that is predicted for each of them afterwards, an index.
        p: two-sided p value of McNemar's exact test that as many samples are forgotten as are learned.
    """

    all: Transitions
    by_class: dict[str, Transitions]
    forgotten: tuple[int, ...]
    mistaken_for: tuple[int, ...]
    p: float

    @property
    def negative(self) -> bool:
        """Whether the stage ends below its start beyond the noise: more is forgotten than learned, with p below 5 %."""
        return self.all.forgotten > self.all.learned and self.p < LEVEL


def mcnemar(changes: Transitions) -> float:
    """Two-sided p value of McNemar's exact test that as many samples are forgotten as are learned; 1 without either."""
    changed = changes.forgotten + changes.learned
    return float(binomtest(changes.forgotten, changed).pvalue) if changed else 1.0


def transfer(before: Tensor, predicted: Tensor, y: Tensor, class_names: Sequence[str]) -> Transfer:
    """Compares the predictions at the start and at the end of a stage.

    Args:
        before: bool [N], which samples are right at the start.
        predicted: int64 [N], the classes that are predicted at the end.
        y: int64 [N], the true classes.
        class_names: one name per class.
    """
    after = predicted == y
    found = transitions(before, after)
    forgotten = torch.nonzero(before & ~after)[:, 0]
    by_class = {}
    for label, name in enumerate(class_names):
        rows = y == label
        by_class[name if name not in by_class else f"{name} ({label})"] = transitions(before[rows], after[rows])
    return Transfer(
        all=found,
        by_class=by_class,
        forgotten=tuple(forgotten.tolist()),
        mistaken_for=tuple(predicted[forgotten].tolist()),
        p=mcnemar(found),
    )
