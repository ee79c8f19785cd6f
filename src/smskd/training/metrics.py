"""What is added up over an epoch."""

import math

import torch
from torch import Tensor

from smskd.training.accuracy import hits


class EpochMetrics:
    """Sums over an epoch, kept on the device: nothing is waited for before the epoch's end.

    Whoever adds counts ``samples`` too; the sums may be added to by what is recorded once and replayed.
    """

    def __init__(self) -> None:
        self.samples = 0
        self._names: tuple[str, ...] = ()
        self._losses = torch.empty(0)
        self._sound = torch.empty(0)
        self._hits = torch.empty(0)

    def add(self, parts: dict[str, Tensor], logits: Tensor, y: Tensor) -> None:
        """The losses of a batch, and which of its samples the logits get right."""
        values = torch.stack([loss.detach().float() for loss in parts.values()])
        if not self._names:
            self._names = tuple(parts)
            self._losses = torch.zeros_like(values)
            self._sound = torch.zeros_like(values, dtype=torch.int64)
            self._hits = torch.zeros(2, dtype=torch.int64, device=logits.device)
        self._losses.add_(values, alpha=len(y))
        self._sound.add_(self._losses.isfinite())
        self._hits.add_(torch.stack([hit.sum() for hit in hits(logits.detach(), y)]))

    def means(self) -> tuple[dict[str, float], float, float]:
        """Of each part and of the ``total``; and the shares, percent, of samples whose class was first, and among the
        first five."""
        losses = {name: value / self.samples for name, value in self._by_name(self._losses).items()}
        top1, top5 = (100.0 * count / self.samples for count in self._hits.tolist())
        return {"total": sum(losses.values()), **losses}, top1, top5

    def first_broken(self) -> list[str]:
        """The parts that were the first not to be finite; in the batches after that every part is not."""
        sound = self._by_name(self._sound)
        lasted = {name: sound[name] for name, value in self._by_name(self._losses).items() if not math.isfinite(value)}
        return [name for name, batches in lasted.items() if batches == min(lasted.values())]

    def _by_name(self, values: Tensor) -> dict[str, float]:
        return dict(zip(self._names, values.tolist(), strict=True))
