"""Batch norm over the rows of all processes.

Ioffe and Szegedy 2015 (arXiv 1502.03167) with mean and variance of the whole batch, as ``torch.nn.SyncBatchNorm``,
which runs on GPUs alone and has to replace the layers of a network. Here the function that all such layers call is
replaced while a network runs, so that those of any library are synchronised, and the network stays what it is.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from smskd.distributed.processes import Processes

_ARGUMENTS = inspect.signature(F.batch_norm)
_NATIVE = ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps")
"""Arguments of ``torch.batch_norm``, in their order."""


class SynchronizedBatchNorm(TorchFunctionMode):
    """Within, batch norms in train mode take mean and variance over the rows of all processes.

    All processes run the same networks within it.

    Args:
        processes: that share a batch.
    """

    def __init__(self, processes: Processes) -> None:
        super().__init__()
        self._processes = processes

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        named = kwargs or {}
        if func is F.batch_norm:
            given = _ARGUMENTS.bind(*args, **named)
            given.apply_defaults()
            if given.arguments["training"]:
                return synchronized(processes=self._processes, **given.arguments)
        elif func is torch.batch_norm:
            values = dict(zip(_NATIVE, args, strict=False)) | {key: named[key] for key in named if key in _NATIVE}
            if values["training"]:
                return synchronized(processes=self._processes, **values)
        return func(*args, **named)


def synchronized(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    *,
    processes: Processes,
) -> Tensor:
    """:func:`torch.nn.functional.batch_norm` in train mode, over the rows of all processes.

    The gradients of ``weight`` and ``bias`` are those of this process's rows; added up over the processes they are
    those of the whole batch.
    """
    result: Tensor = _BatchNorm.apply(input, weight, bias, running_mean, running_var, momentum, eps, processes)
    return result


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        momentum: float,
        eps: float,
        processes: Processes,
    ) -> Tensor:
        mean, variance, count = _moments(x, processes)
        if running_mean is not None and running_var is not None:
            unbiased = variance * (count / (count - 1).clamp_min(1))
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt(), count)
        ctx.processes, ctx.biased = processes, bias is not None
        scale, shift = (None if value is None else value.to(mean.dtype) for value in (weight, bias))
        return F.batch_norm(x.to(mean.dtype), mean, variance, scale, shift, eps=eps).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse, count = ctx.saved_tensors
        dims = _dims(x)
        g = gradient.to(mean.dtype)
        normalised = (x.to(mean.dtype) - _wide(mean, x)) * _wide(inverse, x)
        of_bias, of_weight = g.sum(dims), (g * normalised).sum(dims)
        total = ctx.processes.add(torch.stack([of_bias, of_weight]))
        of_x = g - _wide(total[0] / count, x) - normalised * _wide(total[1] / count, x)
        scale = inverse if weight is None else inverse * weight.to(mean.dtype)
        return (
            (of_x * _wide(scale, x)).to(x.dtype),
            None if weight is None else of_weight.to(weight.dtype),
            of_bias if ctx.biased else None,
            *(None,) * 5,
        )


def _moments(x: Tensor, processes: Processes) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance [C] of the channels over all processes, and the number of values of a channel.

    The moments of the parts are joined as in Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for
    computing sample variances, 1979.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    variances, means = torch.var_mean(wide, _dims(x), correction=0)
    own = means.new_full((1,), x.numel() / x.shape[1])
    found = processes.stacked(torch.cat([means, variances, own]))
    means, variances, counts = found[:, : len(means)], found[:, len(means) : -1], found[:, -1:]
    count = counts.sum()
    shares = counts / count
    mean = (means * shares).sum(0)
    return mean, ((variances + (means - mean).square()) * shares).sum(0), count


def _dims(x: Tensor) -> list[int]:
    return [dim for dim in range(x.dim()) if dim != 1]


def _wide(values: Tensor, x: Tensor) -> Tensor:
    """[C] to the number of dimensions of a batch."""
    return values.view(1, -1, *(1,) * (x.dim() - 2))
