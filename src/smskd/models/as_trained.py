"""Other values for what is equal in a fresh network, so that what is found in it holds when it has been trained."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_NOISE = 0.1
"""Standard deviation of what takes the place of equal values, relative to them where they are not zero."""


@contextmanager
def as_trained(model: nn.Module, run: Callable[[], object]) -> Iterator[None]:
    """Statistics of batch norms and weights that are all equal have other values within; afterwards they are as before.

    In a fresh network a batch norm in eval mode is the identity, biases are zero, and the last layer as a whole may be.
    Tensors that are equal there differ once the network has been trained or weights have been loaded. Statistics
    become those of images, with which the activations of a deep network neither vanish nor are all the same.

    Args:
        model: in eval mode, and within :func:`smskd.models.dry_run.preserve_state`.
        run: runs it on images.
    """
    fresh = [norm for norm in model.modules() if isinstance(norm, _BatchNorm) and _is_fresh(norm)]
    weights = {name: weight.data for name, weight in model.named_parameters() if _all_equal(weight.data)}
    scales = {id(weight) for name, weight in weights.items() if weight.ndim == 1 and name.endswith("weight")}
    tensors = [*weights.values(), *(statistic for norm in fresh for statistic in _statistics(norm))]
    before = [(tensor, tensor.clone()) for tensor in tensors]
    generator = torch.Generator().manual_seed(0)
    try:
        for tensor, value in before:
            noise = _NOISE * torch.randn(value.shape, generator=generator).to(value)
            if bool(value.any()):
                tensor.copy_(value * (1 + noise.abs()))
            else:
                tensor.copy_(1 + noise if id(tensor) in scales else noise)
        _compute_statistics(fresh, run)
        yield
    finally:
        for tensor, value in before:
            tensor.copy_(value)


def _compute_statistics(norms: Sequence[_BatchNorm], run: Callable[[], object]) -> None:
    """Gives the norms the statistics of a forward pass; they keep those that they have where that is not possible."""
    norms = [norm for norm in norms if not isinstance(norm, nn.SyncBatchNorm)]  # communicates between processes
    if not norms:
        return
    before = [[statistic.clone() for statistic in _statistics(norm)] for norm in norms]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.training, norm.momentum = True, 1.0
    try:
        run()
    except Exception:  # such as a single value for each channel
        for norm, values in zip(norms, before, strict=True):
            for statistic, value in zip(_statistics(norm), values, strict=True):
                statistic.copy_(value)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.training, norm.momentum = False, momentum


def _is_fresh(norm: _BatchNorm) -> bool:
    statistics = _statistics(norm)
    return bool(statistics) and not norm.training and all(map(_all_equal, statistics))


def _statistics(norm: _BatchNorm) -> list[Tensor]:
    return [value for value in (norm.running_mean, norm.running_var) if value is not None]


def _all_equal(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel() or tensor.is_meta:
        return False
    return bool((tensor == tensor.flatten()[0]).all())
