"""A requirement that is checked also where Python leaves assertions out."""

from collections.abc import Mapping

import torch
from torch import Tensor


def require(condition: bool, message: str) -> None:
    """Raises an AssertionError with the message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def require_finite_scalars(parts: Mapping[str, Tensor], where: str) -> None:
    """The parts of a loss: at least one, each a scalar, each finite."""
    require(bool(parts), f"{where} has no part")
    for name, part in parts.items():
        require(part.shape == (), f"{where}: the part {name} has the shape {list(part.shape)}; it must be a scalar")
        require(bool(torch.isfinite(part)), f"{where}: the part {name} is {float(part.detach())}")


def require_finite_gradients(tensors: Mapping[str, Tensor]) -> None:
    """The gradients, where there are some."""
    for name, tensor in tensors.items():
        gradient = tensor.grad
        require(gradient is None or bool(torch.isfinite(gradient).all()), f"the gradient of {name} is not finite")


def require_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor], message: str) -> None:
    """The same tensors under the same names, value by value; NaN is the same as NaN."""
    require(one.keys() == other.keys(), f"{message}: {', '.join(sorted(one.keys() ^ other.keys()))}")
    changed = [name for name in one if not _same(one[name], other[name])]
    require(not changed, f"{message}: {', '.join(changed)}")


def total(parts: Mapping[str, Tensor]) -> Tensor:
    """The sum of the parts."""
    return torch.stack(list(parts.values())).sum()


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())
