"""Divergences between softened predictions, and the true class probability."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from smskd.ops.precision import full_precision

ALIKE = 1e-5
"""Deviation, relative to the values, up to which they count as all alike: what float32 leaves of logits near 100."""


def softened_kl(
    student_logits: Tensor,
    target_logits: Tensor,
    temperature: float,
    reduction: Literal["none", "mean"] = "mean",
    direction: Literal["forward", "reverse"] = "forward",
) -> Tensor:
    """Kullback-Leibler divergence of two softened predictions, times the squared temperature.

    ``forward``: T^2 * KL(softmax(target / T) || softmax(student / T)), the loss of knowledge distillation
    (Hinton et al. 2015, arXiv 1503.02531). ``reverse`` swaps the two distributions. The factor T^2 keeps
    the size of the gradient independent of the temperature. No gradient reaches the target.

    Args:
        student_logits: [N, classes].
        target_logits: [N, classes], of the teacher or the reference.
        temperature: T, positive.
        reduction: ``mean`` over the batch (``batchmean`` of PyTorch), or ``none``.
        direction: ``forward`` or ``reverse``.

    Returns:
        A scalar, or [N] where nothing is reduced.

    Raises:
        ValueError: another reduction or direction.
    """
    if reduction not in ("none", "mean"):
        raise ValueError(f"reduction must be 'none' or 'mean', not {reduction!r}")
    if direction not in ("forward", "reverse"):
        raise ValueError(f"direction must be 'forward' or 'reverse', not {direction!r}")
    per_sample = _softened_kl_per_sample(student_logits, target_logits.detach(), temperature, direction)
    return per_sample.mean() if reduction == "mean" else per_sample


@full_precision
def _softened_kl_per_sample(
    student_logits: Tensor, target_logits: Tensor, temperature: float, direction: str
) -> Tensor:
    student = F.log_softmax(student_logits / temperature, dim=1)
    target = F.log_softmax(target_logits / temperature, dim=1)
    first, second = (target, student) if direction == "forward" else (student, target)
    return (first.exp() * (first - second)).sum(dim=1) * temperature**2


def true_class_probability(logits: Tensor, y: Tensor) -> Tensor:
    """The probability that a model gives to each sample's true class, at temperature 1 and without gradient.

    Args:
        logits: [N, classes].
        y: [N] int64 class indices.

    Returns:
        [N], float32 or wider, in [0, 1].
    """
    return _true_class_probability(logits.detach(), y)


@full_precision
def _true_class_probability(logits: Tensor, y: Tensor) -> Tensor:
    return logits.softmax(dim=1).gather(1, y.unsqueeze(1)).squeeze(1)


@full_precision
def standardize(logits: Tensor, eps: float = 1e-7) -> Tensor:
    """Each sample's logits with mean 0 and, over the classes, standard deviation 1 (the unbiased one).

    (z - mean) / (std + eps), as in logit standardization (Sun et al. 2024, arXiv 2403.01427). The gradient goes
    through mean and deviation too. Logits that are all alike but for rounding have no deviation to divide by:
    they become zeros without gradient here; published code gives them gradients of 1e6 or NaN.

    Args:
        logits: [N, classes].
        eps: added to the deviation.

    Returns:
        [N, classes].
    """
    centred = logits - logits.mean(dim=1, keepdim=True)
    variance = centred.square().sum(dim=1, keepdim=True) / max(1, logits.shape[1] - 1)
    varies = variance > ALIKE**2 * (1 + logits.square().mean(dim=1, keepdim=True))
    return torch.where(varies, centred, 0.0) / (torch.where(varies, variance, 1.0).sqrt() + eps)


def other_classes(logits: Tensor, y: Tensor) -> Tensor:
    """The logits without that of each sample's own class.

    Args:
        logits: [N, classes].
        y: [N] int64 class indices.

    Returns:
        [N, classes - 1], in the order of the classes.
    """
    place = torch.arange(logits.shape[1] - 1, device=logits.device).unsqueeze(0)
    return logits.gather(1, place + (place >= y.unsqueeze(1)))


@full_precision
def decoupled_kl(
    student_logits: Tensor, teacher_logits: Tensor, y: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """The two divergences into which that of knowledge distillation falls apart, each times T^2.

    Of decoupled knowledge distillation (Zhao et al. 2022, arXiv 2203.08679). Everything is computed from log
    probabilities of exactly the classes concerned, so that it stays finite and exact for logits of any size.

    Args:
        student_logits: [N, classes].
        teacher_logits: [N, classes]; receives no gradient.
        y: [N] int64 class indices.
        temperature: T, positive.

    Returns:
        The divergence of the probabilities of the sample's class against all the rest, and that of the
        distributions over the rest; scalars, averaged over the batch.
    """
    student, teacher = (_own_or_rest(z / temperature, y) for z in (student_logits, teacher_logits))
    own_or_rest = softened_kl(student, teacher, 1.0) * temperature**2
    within_rest = softened_kl(other_classes(student_logits, y), other_classes(teacher_logits, y), temperature)
    return own_or_rest, within_rest


def _own_or_rest(logits: Tensor, y: Tensor) -> Tensor:
    """[N, 2] logits of a sample's own class and of all the rest together."""
    own = logits.gather(1, y.unsqueeze(1)).squeeze(1)
    return torch.stack([own, other_classes(logits, y).logsumexp(dim=1)], dim=1)
