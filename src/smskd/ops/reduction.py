"""Losses per sample and their mean over the batch."""

from typing import Literal

from torch import Tensor

Reduction = Literal["none", "mean"]
"""``none``: the loss of each sample, [N]; ``mean``: its mean over the batch, a scalar."""


def reduced(per_sample: Tensor, reduction: Reduction) -> Tensor:
    """Applies a reduction to the losses of the samples of a batch.

    Args:
        per_sample: [N].
        reduction: ``none`` or ``mean``.

    Returns:
        [N], or a scalar.

    Raises:
        ValueError: another reduction.
    """
    if reduction not in ("none", "mean"):
        raise ValueError(f"reduction must be 'none' or 'mean', not {reduction!r}")
    return per_sample.mean() if reduction == "mean" else per_sample


def sample_mean(x: Tensor) -> Tensor:
    """The mean over all elements of each sample: [N, ...] to [N]."""
    return x.flatten(1).mean(dim=1)


def sample_sum(x: Tensor) -> Tensor:
    """The sum over all elements of each sample: [N, ...] to [N]."""
    return x.flatten(1).sum(dim=1)
