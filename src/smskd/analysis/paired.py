"""Differences of two recipes, paired over their seeds, with confidence intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from scipy.special import stdtrit  # type: ignore[import-untyped]

from smskd.analysis.compare import Row, same_data
from smskd.errors import UserError

_UPPER = 0.975
"""The quantile that leaves 2.5 % on either side of a 95 % interval."""


@dataclass(frozen=True)
class PairedDifference:
    """The difference in top-1 accuracy between two recipes, seed by seed, in percentage points.

    The runs of a pair share the seed, the teacher, the training images and the test images. The interval covers the
    randomness of training alone (initialization, order and augmentation of the images): it holds for these images, and
    is not corrected for the number of comparisons.

    Attributes:
        name: label of the recipe.
        baseline: label of the recipe that is subtracted.
        seeds: that both recipes were trained with, in ascending order.
        values: the difference of each pair, in the order of the seeds.
        mean: of the values.
        half_width: of the 95 % confidence interval around the mean, by Student's t distribution; None for one pair.
    """

    name: str
    baseline: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    mean: float
    half_width: float | None

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies above or below zero, 0 where it contains zero or does not exist."""
        if self.half_width is None or abs(self.mean) <= self.half_width:
            return 0
        return 1 if self.mean > 0 else -1


def paired_difference(row: Row, baseline: Row) -> PairedDifference:
    """The difference in top-1 accuracy of the last epoch, over the seeds that both rows have.

    Args:
        row: a recipe over its seeds.
        baseline: the recipe that is subtracted.

    Raises:
        UserError: they have other images, or no seed in common.
    """
    if not same_data(row, baseline):
        raise UserError(f"{row.label} and {baseline.label} have other images, so that no runs can be paired")
    own = dict(zip(row.seeds, row.top1_last.values, strict=True))
    other = dict(zip(baseline.seeds, baseline.top1_last.values, strict=True))
    seeds = tuple(sorted(own.keys() & other.keys()))
    if not seeds:
        raise UserError(f"{row.label} and {baseline.label} have no seed in common, so that no runs can be paired")
    values = tuple(own[seed] - other[seed] for seed in seeds)
    return PairedDifference(row.label, baseline.label, seeds, values, fmean(values), half_width(values))


def half_width(values: Sequence[float]) -> float | None:
    """Half the width of the 95 % confidence interval of a mean, ``t(0.975, n - 1) * s / sqrt(n)``; None for n = 1."""
    if len(values) < 2:
        return None
    quantile = float(stdtrit(len(values) - 1, _UPPER))
    return quantile * stdev(values) / sqrt(len(values))


def conclusion(differences: Sequence[PairedDifference]) -> str:
    """A sentence that states which differences are larger than their uncertainty.

    Args:
        differences: at least one; those with the same baseline share a clause for each sign.
    """
    if any(difference.half_width is None for difference in differences):
        return "Nothing can be concluded from a single seed."
    counts = sorted({len(difference.seeds) for difference in differences})
    seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    clauses = [
        _clause(names, sign, baseline)
        for baseline in dict.fromkeys(difference.baseline for difference in differences)
        for sign in (1, -1, 0)
        if (names := [other.name for other in differences if (other.baseline, other.sign) == (baseline, sign)])
    ]
    return f"At 95 % confidence over {seeds} seeds: {'; '.join(clauses)}."


def _clause(names: Sequence[str], sign: int, baseline: str) -> str:
    *first, last = names
    listed = f"{', '.join(first)} and {last}" if first else last
    if sign == 0:
        return f"{listed} cannot be told apart from {baseline}"
    return f"{listed} {'are' if first else 'is'} {'more' if sign > 0 else 'less'} accurate than {baseline}"
