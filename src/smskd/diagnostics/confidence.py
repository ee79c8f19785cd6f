"""The true class probability (TCP): the weights that the reference loss gives to samples."""

from dataclasses import dataclass

import torch
from torch import Tensor

from smskd.ops.divergences import true_class_probability

BINS = 10
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Distribution:
    """Of numbers from 0 to 1.

    Attributes:
        mean: of all.
        quantiles: at 5, 25, 50, 75 and 95 %.
        histogram: share of the samples in each of ten bins of equal width.
        weight: share of the sum of all numbers that the samples of each bin have: of the reference loss, where the
            numbers are its weights. All are 0 where the sum is.
    """

    mean: float
    quantiles: tuple[float, ...]
    histogram: tuple[float, ...]
    weight: tuple[float, ...]


def true_class_probabilities(logits: Tensor, y: Tensor) -> Distribution:
    """The distribution of the predicted probability of the true class, at temperature 1.

    Args:
        logits: [N, classes].
        y: int64 [N].
    """
    values = true_class_probability(logits.double(), y)
    place = (values * BINS).long().clamp(max=BINS - 1)
    sums = torch.zeros(BINS, dtype=values.dtype).index_add_(0, place, values)
    return Distribution(
        mean=float(values.mean()),
        quantiles=tuple(values.quantile(torch.tensor(QUANTILES, dtype=values.dtype)).tolist()),
        histogram=tuple((torch.bincount(place, minlength=BINS).double() / len(values)).tolist()),
        weight=tuple((sums / values.sum().clamp(min=torch.finfo(values.dtype).tiny)).tolist()),
    )
