"""The sum of log(1 + exp(x)) over many numbers, which noise-contrastive losses take."""

from typing import Any

import torch
from torch import Tensor

_FOLDED = 16
"""Factors under one logarithm: each is at most 2, so that their product is far from overflow."""


def softplus_sum(x: Tensor) -> Tensor:
    """sum of log(1 + exp(x)), as exact as term by term, with few logarithms.

    Args:
        x: any shape, float32 or float64.

    Returns:
        A scalar; its gradient to x is sigmoid(x).
    """
    total: Tensor = _SoftplusSum.apply(x)
    return total


def softplus_total(x: Tensor) -> Tensor:
    """The value of :func:`softplus_sum` alone.

    log(1 + a) + log(1 + b) = log(1 + (a + b + ab)) halves the numbers whose logarithm, slow on a CPU, is taken; no
    rounding of a small a to 1 + a comes in. For x > 0, log(1 + exp(x)) = x + log(1 + exp(-x)).
    """
    powers = x.abs().neg_().exp_().flatten()
    whole = len(powers) // _FOLDED * _FOLDED
    product, rest = powers[:whole], powers[whole:]
    while len(product) > whole // _FOLDED:
        one, other = product.chunk(2)
        product = torch.addcmul(one, one, other).add_(other)
    return x.relu().sum() + product.log1p_().sum() + rest.log1p().sum()


class _SoftplusSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return softplus_total(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gradient: Tensor = x.sigmoid() * gradients[0]
        return gradient
