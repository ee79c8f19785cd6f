"""The noise-contrastive term of shared negatives."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from smskd.negatives import Shared
from smskd.softplus import softplus_total


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
