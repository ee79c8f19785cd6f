"""Requirements that are checked also where Python leaves assertions out."""

from collections.abc import Mapping

import torch
from torch import Tensor


def require(condition: bool, message: str) -> None:
    """Raises an AssertionError with the message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def require_finite_parts(parts: Mapping[str, Tensor], samples: int, where: str) -> None:
    """The parts of a loss: at least one, each a scalar or [N], each finite."""
    require(bool(parts), f"{where} has no part")
    for name, part in parts.items():
        fits = tuple(part.shape) in ((), (samples,))
        require(fits, f"{where}: the part {name} has the shape {list(part.shape)}; it must be [{samples}] or a scalar")
        require(bool(torch.isfinite(part).all()), f"{where}: the part {name} is not finite: {part.detach().tolist()}")


def require_finite_gradients(tensors: Mapping[str, Tensor]) -> None:
    """The gradients of those tensors that have one are finite."""
    for name, tensor in tensors.items():
        gradient = tensor.grad
        require(gradient is None or bool(torch.isfinite(gradient).all()), f"the gradient of {name} is not finite")


def require_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor], message: str) -> None:
    """The same names and the same tensors, bit for bit; NaN equals NaN."""
    require(one.keys() == other.keys(), f"{message}: {', '.join(sorted(one.keys() ^ other.keys()))}")
    changed = [name for name in one if not _same(one[name], other[name])]
    require(not changed, f"{message}: {', '.join(changed)}")


def total(parts: Mapping[str, Tensor]) -> Tensor:
    """The sum of the parts, each averaged over the batch."""
    return torch.stack([part.mean() for part in parts.values()]).sum()


def backward(parts: Mapping[str, Tensor]) -> None:
    """Calls ``backward()`` on the sum of the parts, where it depends on anything."""
    loss = total(parts)
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]


def copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The values of tensors, independent of later changes in place."""
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())
