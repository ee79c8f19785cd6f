"""The noise-contrastive term of shared negatives."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from smskd.ops.contrast_memory import Shared

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


def shared_softplus_sum(embedding: Tensor, memory: Tensor, contrast: Shared, shift: Tensor) -> Tensor:
    """sum of log(1 + exp(<memory row, embedding> - shift)) over each sample's negatives.

    The gradient is computed along with the value, so that no score is kept, and the memory may change before
    ``backward()``.

    Args:
        embedding: [N, D], over the temperature.
        memory: [M, D]; receives no gradient.
        contrast: the negatives.
        shift: scalar; receives no gradient.
    """
    total: Tensor = _SharedSoftplusSum.apply(embedding, memory, contrast.rows, contrast.left_out, shift)
    return total


class _SharedSoftplusSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, embedding: Tensor, memory: Tensor, rows: Tensor, left_out: Tensor, shift: Tensor) -> Tensor:
        compared = memory.index_select(0, rows)
        x = F.linear(compared, embedding, -shift.expand(len(embedding))).masked_fill_(left_out, -torch.inf)
        total = softplus_total(x)
        gradient = x.sigmoid_().T @ compared
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0], None, None, None, None
