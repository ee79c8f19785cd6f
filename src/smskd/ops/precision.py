"""Computing in float32 under autocast, and gradients computed in the forward pass."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: the function computes in float32 or wider, also under autocast.

    Tensors of float16 or bfloat16 (alone, in a list or in a tuple) are cast to float32; float32 and float64 are left
    as they are. Exponentials, norms and sums over a batch lose too much accuracy in 16 bits.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        wide = [_widen(value) for value in args]
        wide_by_name = {name: _widen(value) for name, value in kwargs.items()}
        with torch.autocast(_device_type(*wide, *wide_by_name.values()), enabled=False):
            return function(*wide, **wide_by_name)

    return run


def differentiated(function: Callable[[Tensor], tuple[Tensor, R]], x: Tensor) -> tuple[Tensor, R]:
    """Values of a function whose gradient is computed in the forward pass.

    For a function that reads a large memory which is updated in place before ``backward()``: autograd would need a
    copy of the memory.

    Args:
        function: from x to a value for each sample, [N], the i-th of which depends on the i-th row of x alone, and
            any further result.
        x: [N, ...].

    Returns:
        The values [N], with their gradient to x, and the further result.
    """
    if not (torch.is_grad_enabled() and x.requires_grad):
        return function(x)
    leaf = x.detach().requires_grad_()
    values, other = function(leaf)
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach() + ((x - x.detach()) * gradient).flatten(1).sum(1), other


def _widen(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
    if isinstance(value, (list, tuple)):
        return [_widen(item) for item in value]
    return value


def _device_type(*values: Any) -> str:
    for value in values:
        if isinstance(value, Tensor):
            return value.device.type
        if isinstance(value, (list, tuple)) and value:
            return _device_type(*value)
    return "cpu"
