"""Gradients, added up over the processes."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from smskd.distributed.processes import Processes

BUCKET = 25 * 2**20
"""Bytes that are sent at once, as in ``torch.nn.parallel.DistributedDataParallel``."""


class GradientSum:
    """Adds the gradients of all processes up, after each backward pass.

    A parameter that has no gradient in any process keeps none, so that no optimizer touches it. Unlike
    ``torch.nn.parallel.DistributedDataParallel`` it need not know before the backward pass which parameters that will
    be, takes several losses for a step, and divides nothing: the losses of the processes add up to that of the batch.

    Args:
        parameters: that are trained, in the same order in all processes.
        processes: that call this together.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], processes: Processes) -> None:
        self._parameters = list(parameters)
        self._processes = processes

    @torch.no_grad()
    def __call__(self) -> None:
        """Replaces the gradients by their sums."""
        if self._processes.alone or not self._parameters:
            return
        # On the CPU: the host knows it, and need not wait for the device.
        there = self._processes.most(torch.tensor([int(own.grad is not None) for own in self._parameters]))
        trained = [own for own, has in zip(self._parameters, there.tolist(), strict=True) if has]
        for bucket in _buckets(trained):
            gradients = [torch.zeros_like(own) if own.grad is None else own.grad for own in bucket]
            flat = self._processes.add(torch.cat([gradient.flatten() for gradient in gradients]))
            sizes = [gradient.numel() for gradient in gradients]
            for own, gradient, total in zip(bucket, gradients, torch.split(flat, sizes), strict=True):
                own.grad = gradient.copy_(total.view(gradient.shape))


def _buckets(parameters: Iterable[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Parameters of one type and device, of about as many bytes."""
    found: list[list[nn.Parameter]] = []
    filled: dict[tuple[torch.dtype, torch.device], tuple[list[nn.Parameter], int]] = {}
    for own in parameters:
        kind, size = (own.dtype, own.device), _bytes(own)
        bucket, held = filled.get(kind, ([], BUCKET))
        if held + size > BUCKET:
            bucket, held = [], 0
            found.append(bucket)
        bucket.append(own)
        filled[kind] = bucket, held + size
    return found


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
