"""Whether a mean difference is larger than its uncertainty: intervals, a test, and a correction for many tests."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

from scipy.special import stdtr, stdtrit

_UPPER = 0.975
"""The quantile that leaves 2.5 % on either side of a 95 % interval."""

_RESAMPLES = 9_999


def half_width(values: Sequence[float]) -> float | None:
    """Half the width of the 95 % confidence interval of a mean, ``t(0.975, n - 1) * s / sqrt(n)``; None for n = 1."""
    if len(values) < 2:
        return None
    quantile = float(stdtrit(len(values) - 1, _UPPER))
    return quantile * stdev(values) / sqrt(len(values))


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % bootstrap confidence interval of a mean (Efron 1987: bias-corrected and accelerated), None for n = 1.

    It assumes no distribution, but with fewer than about ten values it is narrower than it should be. 9,999 resamples
    are drawn with a fixed seed.
    """
    if len(values) < 2:
        return None
    if min(values) == max(values):
        return values[0], values[0]
    import numpy as np  # both imported here: scipy.stats takes a second
    from scipy.stats import bootstrap

    found = bootstrap((values,), np.mean, n_resamples=_RESAMPLES, rng=np.random.default_rng(0)).confidence_interval
    return float(found.low), float(found.high)


def t_test(values: Sequence[float]) -> float | None:
    """The two-sided p value of Student's t test that the mean is 0; None where all values are equal, or n = 1."""
    if len(values) < 2 or (deviation := stdev(values)) == 0:
        return None
    statistic = fmean(values) / (deviation / sqrt(len(values)))
    return 2 * float(stdtr(len(values) - 1, -abs(statistic)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p values, corrected for their number (Holm 1979), so that all of them hold together at the stated level.

    Args:
        p_values: of the tests; None: no test was possible, which counts as none.
    """
    tested = sorted((value, place) for place, value in enumerate(p_values) if value is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for before, (value, place) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - before) * value))
        corrected[place] = largest
    return corrected
