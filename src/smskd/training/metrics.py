"""Sums over an epoch: losses and training accuracy."""

import math

import torch
from torch import Tensor

from smskd.distributed.processes import Processes
from smskd.training.accuracy import hits
from smskd.training.skipping import SkipCounts, Skipped


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
        self._skips: SkipCounts | None = None

    def add(
        self,
        parts: dict[str, Tensor],
        logits: Tensor,
        y: Tensor,
        skipped: Tensor | None = None,
        count: int | None = None,
    ) -> None:
        """Adds the losses of a batch, scalars, and its hits; of a skipped batch only that it was skipped.

        Args:
            parts: of the loss, by name.
            logits: [N, classes].
            y: [N] true classes.
            skipped: whether the step was skipped, a bool scalar; None: no step ever is.
            count: of the N rows that count, all or none of them; None: all.
        """
        count = len(y) if count is None else count
        values = torch.stack([loss.detach().float() for loss in parts.values()])
        if not self._names:
            self._names = tuple(parts)
            self._losses = torch.zeros_like(values)
            self._finite = torch.zeros_like(values, dtype=torch.int64)
            self._hits = torch.zeros(2, dtype=torch.int64, device=logits.device)
        right = torch.stack([hit.sum() for hit in hits(logits.detach(), y)]) * (count > 0)
        if skipped is not None:
            self._skips = self._skips or SkipCounts(logits.device)
            self._skips.add(skipped, count)
            values, right = values.masked_fill(skipped, 0.0), right.masked_fill(skipped, 0)
        self._losses.add_(values, alpha=count)
        self._finite.add_(self._losses.isfinite())
        self._hits.add_(right)

    def add_others(self, processes: Processes) -> None:
        """Adds what the other processes have summed over the same steps, at the end of the epoch."""
        if processes.alone:
            return
        self.samples = sum(processes.all_of(self.samples))
        processes.add(self._losses)
        processes.add(self._hits)
        self._finite = -processes.most(-self._finite)
        if self._skips is not None:
            self._skips.add_others(processes)

    def means(self) -> tuple[dict[str, float], float, float]:
        """The mean of each part and of the ``total``; the shares, in percent, of samples whose true class was ranked
        first, and among the first five. Skipped batches do not count."""
        samples = self.samples - self.skipped().samples
        losses = {name: value / samples for name, value in self._by_name(self._losses).items()}
        top1, top5 = (100.0 * count / samples for count in self._hits.tolist())
        return {"total": sum(losses.values()), **losses}, top1, top5

    def skipped(self) -> Skipped:
        """The steps that were skipped."""
        return Skipped() if self._skips is None else self._skips.read()

    def finite_batches(self) -> int:
        """Number of batches before the first one with a part that was not finite; all of them where there is none."""
        return int(min(self._by_name(self._finite).values()))

    def first_not_finite(self) -> list[str]:
        """The parts that were the first not to be finite; in later batches no part is."""
        finite = self._by_name(self._finite)
        lasted = {name: finite[name] for name, value in self._by_name(self._losses).items() if not math.isfinite(value)}
        return [name for name, batches in lasted.items() if batches == min(lasted.values())]

    def _by_name(self, values: Tensor) -> dict[str, float]:
        return dict(zip(self._names, values.tolist(), strict=True))
