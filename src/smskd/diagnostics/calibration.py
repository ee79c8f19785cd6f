"""Calibration: whether a network is right as often as it is confident."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

BINS = 15
"""Of Guo et al."""


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose largest predicted probability lies in (low, high].

    Attributes:
        low, high: ends of the bin, probabilities.
        images: how many they are.
        confidence: mean of the largest predicted probability; 0 without images.
        accuracy: share of them that is classified correctly; 0 without images.
    """

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """Of a network on a part of the data.

    Attributes:
        nll: negative log-likelihood of the true class, mean, in nats.
        ece: expected calibration error: the mean over the images of the distance between confidence and accuracy of
            their bin, from 0 to 1.
        bins: of equal width, in ascending order: the reliability curve.
    """

    nll: float
    ece: float
    bins: tuple[ReliabilityBin, ...]


def calibration(logits: Tensor, y: Tensor, bins: int = BINS) -> Calibration:
    """Negative log-likelihood, expected calibration error and reliability curve.

    Guo et al., On Calibration of Modern Neural Networks (ICML 2017, arXiv 1706.04599), with 15 bins of equal width.

    Args:
        logits: [N, classes].
        y: int64 [N].
        bins: number of bins.
    """
    logits = logits.double()
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    correct = (predicted == y).double()
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    count = torch.bincount(place, minlength=bins)
    share = count.clamp(min=1).double()
    mean_confidence = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, confidence) / share
    accuracy = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, correct) / share
    error = (count * (accuracy - mean_confidence).abs()).sum() / max(1, len(y))
    return Calibration(
        nll=float(F.cross_entropy(logits, y)),
        ece=float(error),
        bins=tuple(
            ReliabilityBin(index / bins, (index + 1) / bins, *values)
            for index, values in enumerate(
                zip(count.tolist(), mean_confidence.tolist(), accuracy.tolist(), strict=True)
            )
        ),
    )
