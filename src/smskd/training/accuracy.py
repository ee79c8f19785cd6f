"""Accuracy of a model, and the transitions of test samples between right and wrong from one stage to the next."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from smskd.config.runtime import ComputeConfig
from smskd.interfaces.batch import Batch
from smskd.models.dry_run import in_eval_mode

TOP5_CLASSES = 6
"""With fewer classes than this, top-5 accuracy says nothing and is left out."""


@dataclass(frozen=True)
class Accuracy:
    """Of a model on a data set.

    Attributes:
        top1, top5: percent; ``top5`` None with fewer than six classes.
        correct: [N] bool on the CPU, whether each sample's top-1 prediction is right, in data set order.
    """

    top1: float
    top5: float | None
    correct: Tensor


@dataclass(frozen=True)
class Transitions:
    """Of the test samples, how many an earlier and a later student got right.

    Attributes:
        retained: both. forgotten: only the earlier. learned: only the later. never_known: neither.
    """

    retained: int
    forgotten: int
    learned: int
    never_known: int


def transitions(before: Tensor, after: Tensor) -> Transitions:
    """Compares which samples [N] bool were right before and after."""
    return Transitions(
        retained=int((before & after).sum()),
        forgotten=int((before & ~after).sum()),
        learned=int((~before & after).sum()),
        never_known=int((~before & ~after).sum()),
    )


def hits(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """[N] bool each: whether the true class is the first, and among the first five."""
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices
    matches = ranked == y[:, None]
    return matches[:, 0], matches.any(dim=1)


def _itself(values: Tensor) -> Tensor:
    return values


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    classes: int,
    compute: ComputeConfig | None = None,
    with_others: Callable[[Tensor], Tensor] = _itself,
) -> Accuracy:
    """The accuracy of a model, in eval mode; afterwards its modules are in the modes that they were in.

    Args:
        model: gives logits [N, classes].
        batches: of an epoch without shuffling.
        classes: number of classes.
        compute: its precision is that of the forward pass; None: float32.
        with_others: from the results [n] of these batches to those [N] of all processes; default: there are no others.
    """
    none = torch.zeros(0, dtype=torch.bool)
    first, five = [none], [none]
    compute = compute or ComputeConfig()
    with in_eval_mode(model):
        for batch in batches:
            with compute.autocast(batch.y.device):
                logits = model(batch.x)
            top1, top5 = hits(logits, batch.y)
            first.append(top1)
            five.append(top5)
    correct = with_others(_on_cpu(first))
    top5_share = percent(with_others(_on_cpu(five))) if classes >= TOP5_CLASSES else None
    return Accuracy(percent(correct), top5_share, correct)


def _on_cpu(found: list[Tensor]) -> Tensor:
    none, *batches = found
    return torch.cat(batches).cpu() if batches else none


def percent(correct: Tensor) -> float:
    """The share of true entries of a bool tensor, in percent."""
    return 100.0 * int(correct.sum()) / max(1, correct.numel())
