"""A fixed choice of rows in which each class has its share."""

import torch
from torch import Tensor

from smskd.data.counter_rng import mix_tensor


def stratified_mask(labels: Tensor, classes: int, wanted: int, *key: int) -> Tensor:
    """A fixed choice of ``wanted`` rows, bool [N], in which each class has its share of the whole.

    Shares are rounded by the largest remainders. The rows of a class are chosen by a hash of their numbers, so no
    release of a library can change the choice.

    Args:
        labels: int64 [N], on the CPU.
        classes: number of classes.
        wanted: number of rows, 0 to N.
        key: of the hash, such as a seed; default: none.
    """
    counts = torch.bincount(labels, minlength=classes)
    quotas = torch.tensor(_quotas(counts.tolist(), wanted), dtype=torch.int64)
    order = mix_tensor(*key, torch.arange(len(labels))).argsort(stable=True)
    order = order[labels[order].argsort(stable=True)]  # class by class, by the hash within a class
    sorted_labels = labels[order]
    begins = counts.cumsum(0) - counts
    places = torch.arange(len(labels)) - begins[sorted_labels]
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[order[places < quotas[sorted_labels]]] = True
    return chosen


def _quotas(counts: list[int], wanted: int) -> list[int]:
    """``wanted`` shared out in proportion to the counts, by the largest remainders."""
    total = max(1, sum(counts))
    quotas = [wanted * count // total for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda label: -(wanted * counts[label] % total))
    for label in by_remainder[: wanted - sum(quotas)]:
        quotas[label] += 1
    return quotas
