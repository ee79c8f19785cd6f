"""Sums over an epoch: losses and training accuracy."""

import math

import torch
from torch import Tensor

from smskd.training.accuracy import hits


class EpochMetrics:
    """Sums over an epoch, kept on the device: nothing waits for it before the epoch's end.

    The caller counts ``samples``; :meth:`add` may be captured in a graph and replayed.
    """

    def __init__(self) -> None:
        self.samples = 0
        self._names: tuple[str, ...] = ()
        self._losses = torch.empty(0)
        self._finite = torch.empty(0)
        self._hits = torch.empty(0)

    def add(self, parts: dict[str, Tensor], logits: Tensor, y: Tensor) -> None:
        """Adds the losses of a batch, scalars, and its hits.

        Args:
            parts: of the loss, by name.
            logits: [N, classes].
            y: [N] true classes.
        """
        values = torch.stack([loss.detach().float() for loss in parts.values()])
        if not self._names:
            self._names = tuple(parts)
            self._losses = torch.zeros_like(values)
            self._finite = torch.zeros_like(values, dtype=torch.int64)
            self._hits = torch.zeros(2, dtype=torch.int64, device=logits.device)
        self._losses.add_(values, alpha=len(y))
        self._finite.add_(self._losses.isfinite())
        self._hits.add_(torch.stack([hit.sum() for hit in hits(logits.detach(), y)]))

    def means(self) -> tuple[dict[str, float], float, float]:
        """The mean of each part and of the ``total``; the shares, in percent, of samples whose true class was ranked
        first, and among the first five."""
        losses = {name: value / self.samples for name, value in self._by_name(self._losses).items()}
        top1, top5 = (100.0 * count / self.samples for count in self._hits.tolist())
        return {"total": sum(losses.values()), **losses}, top1, top5

    def first_not_finite(self) -> list[str]:
        """The parts that were the first not to be finite; in later batches no part is."""
        finite = self._by_name(self._finite)
        lasted = {name: finite[name] for name, value in self._by_name(self._losses).items() if not math.isfinite(value)}
        return [name for name, batches in lasted.items() if batches == min(lasted.values())]

    def _by_name(self, values: Tensor) -> dict[str, float]:
        return dict(zip(self._names, values.tolist(), strict=True))
