"""The rows of all processes: gathered with gradient."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from smskd.distributed.processes import Processes
from smskd.interfaces.batch import Part


def gathered(rows: Tensor, part: Part, processes: Processes) -> Tensor:
    """The rows of the whole batch, in its order.

    Backward, a process receives the gradients that all processes have for its rows, added up: the gradient of the sum
    of their losses.

    Args:
        rows: [n, ...] of this process.
        part: the rows of the batch that it has.
        processes: that call this together.
    """
    if part.whole:
        return rows
    result: Tensor = _Gathered.apply(rows, part, processes)
    return result


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, part: Part, processes: Processes) -> Tensor:
        ctx.part, ctx.processes = part, processes
        return _joined(rows, part, processes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        total = ctx.processes.add(gradient.contiguous().clone())
        return total[ctx.part.rows], None, None


def _joined(rows: Tensor, part: Part, processes: Processes) -> Tensor:
    """Rows of different numbers are sent with as many as the largest part has."""
    sent = rows.detach()
    if sent.dtype == torch.bool:
        return _joined(sent.to(torch.uint8), part, processes).bool()
    most = max(part.sizes)
    if len(sent) < most:
        sent = torch.cat([sent, sent.new_zeros(most - len(sent), *sent.shape[1:])])
    found = processes.stacked(sent)
    return torch.cat([own[:size] for own, size in zip(found, part.sizes, strict=True)])
