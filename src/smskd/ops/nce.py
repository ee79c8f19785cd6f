"""Sums of softplus, the terms of the noise-contrastive loss."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from smskd.ops.contrast_memory import Shared

_FOLDED = 16
"""Factors under one logarithm: each is at most 2, so that their product is far from overflow."""


def softplus_sum(x: Tensor) -> Tensor:
    """sum over k of log(1 + exp(x_k)), as accurate as term by term, with few logarithms.

    Args:
        x: [N, K], float32 or float64.

    Returns:
        [N]; its gradient to x is sigmoid(x).
    """
    sums: Tensor = _SoftplusSum.apply(x)
    return sums


def softplus_values(x: Tensor, dim: int) -> Tensor:
    """The values of :func:`softplus_sum` along a dimension, without gradient.

    log(1 + a) + log(1 + b) = log(1 + (a + b + ab)) halves the count of logarithms, which are slow on a CPU; a small a
    is never rounded away in 1 + a. For x > 0, log(1 + exp(x)) = x + log(1 + exp(-x)).
    """
    powers = x.abs().neg_().exp_()
    count = x.shape[dim] // _FOLDED
    product = powers.narrow(dim, 0, count * _FOLDED)
    rest = powers.narrow(dim, count * _FOLDED, x.shape[dim] - count * _FOLDED)
    while product.shape[dim] > count:
        one, other = product.chunk(2, dim)
        product = torch.addcmul(one, one, other).add_(other)
    return x.relu().sum(dim) + product.log1p_().sum(dim) + rest.log1p_().sum(dim)


class _SoftplusSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return softplus_values(x, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gradient: Tensor = x.sigmoid() * gradients[0].unsqueeze(1)
        return gradient


def shared_softplus_sum(embedding: Tensor, memory: Tensor, contrast: Shared, shift: Tensor) -> Tensor:
    """sum of log(1 + exp(<memory row, embedding> - shift)) over the negatives of each sample.

    The gradient is computed in the forward pass, so that no score is kept, and the memory may change before
    ``backward()``.

    Args:
        embedding: [N, D], divided by the temperature.
        memory: [M, D]; receives no gradient.
        contrast: the negatives.
        shift: scalar; receives no gradient.

    Returns:
        [N].
    """
    sums: Tensor = _SharedSoftplusSum.apply(embedding, memory, contrast.rows, contrast.left_out, shift)
    return sums


class _SharedSoftplusSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, embedding: Tensor, memory: Tensor, rows: Tensor, left_out: Tensor, shift: Tensor) -> Tensor:
        compared = memory.index_select(0, rows)
        x = F.linear(compared, embedding, -shift.expand(len(embedding))).masked_fill_(left_out, -torch.inf)
        sums = softplus_values(x, 0)
        gradient = x.sigmoid_().T @ compared
        ctx.save_for_backward(gradient)
        return sums

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0].unsqueeze(1), None, None, None, None
