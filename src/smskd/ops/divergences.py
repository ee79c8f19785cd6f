"""Divergences between softened predictions, and the true class probability."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from smskd.ops.precision import full_precision
from smskd.ops.reduction import Reduction, reduced

ALIKE = 1e-5
"""Relative deviation up to which values count as all equal: the rounding error of float32 for logits near 100."""


def softened_kl(
    student_logits: Tensor,
    target_logits: Tensor,
    temperature: float,
    reduction: Reduction = "mean",
    direction: Literal["forward", "reverse"] = "forward",
) -> Tensor:
    """Kullback-Leibler divergence of two softened predictions, times the squared temperature.

    ``forward``: T^2 * KL(softmax(target / T) || softmax(student / T)), the loss of knowledge distillation
    (Hinton et al. 2015, arXiv 1503.02531). ``reverse`` swaps the two distributions. The factor T^2 makes the size of
    the gradient nearly independent of the temperature. No gradient reaches the target.

    Args:
        student_logits: [N, classes].
        target_logits: [N, classes], of the teacher or the reference.
        temperature: T, positive.
        reduction: ``mean`` over the batch (``batchmean`` in PyTorch), or ``none``.
        direction: ``forward`` or ``reverse``.

    Returns:
        Scalar; [N] with reduction ``none``.

    Raises:
        ValueError: another reduction or direction.
    """
    if direction not in ("forward", "reverse"):
        raise ValueError(f"direction must be 'forward' or 'reverse', not {direction!r}")
    per_sample = _softened_kl_per_sample(student_logits, target_logits.detach(), temperature, direction)
    return reduced(per_sample, reduction)


@full_precision
def _softened_kl_per_sample(
    student_logits: Tensor, target_logits: Tensor, temperature: float, direction: str
) -> Tensor:
    student = F.log_softmax(student_logits / temperature, dim=1)
    target = F.log_softmax(target_logits / temperature, dim=1)
    first, second = (target, student) if direction == "forward" else (student, target)
    return (first.exp() * (first - second)).sum(dim=1) * temperature**2


def true_class_probability(logits: Tensor, y: Tensor) -> Tensor:
    """The predicted probability of each sample's true class, at temperature 1 and without gradient.

    Args:
        logits: [N, classes].
        y: [N] int64 class indices; or [N, classes] class probabilities, over which the mean is taken.

    Returns:
        [N], float32 or wider, in [0, 1].
    """
    return _true_class_probability(logits.detach(), y)


@full_precision
def _true_class_probability(logits: Tensor, y: Tensor) -> Tensor:
    probabilities = logits.softmax(dim=1)
    return probabilities.gather(1, y.unsqueeze(1)).squeeze(1) if y.dim() == 1 else (probabilities * y).sum(dim=1)


@full_precision
def standardize(logits: Tensor, eps: float = 1e-7) -> Tensor:
    """Logits standardised over the classes of each sample: mean 0, (unbiased) standard deviation 1.

    (z - mean) / (std + eps), as in logit standardization (Sun et al. 2024, arXiv 2403.01427). The gradient flows
    through mean and deviation too. Logits that are all equal up to rounding become zeros without gradient; in
    published code their gradients are about 1e6, or NaN.

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
    """The logits of the non-target classes: those of each sample without that of its own class.

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
    student_logits: Tensor,
    teacher_logits: Tensor,
    y: Tensor,
    temperature: float,
    reduction: Reduction = "mean",
) -> tuple[Tensor, Tensor]:
    """The target-class and the non-target-class divergence of decoupled knowledge distillation, each times T^2.

    Zhao et al. 2022, arXiv 2203.08679. Both are computed from log probabilities of exactly the classes concerned, so
    that they are finite and accurate for logits of any size.

    Args:
        student_logits: [N, classes].
        teacher_logits: [N, classes]; receives no gradient.
        y: [N] int64 class indices.
        temperature: T, positive.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        TCKD, the divergence of the binary distributions (own class, all other classes), and NCKD, that of the
        distributions over the other classes; scalars, or [N] with reduction ``none``.
    """
    student, teacher = (_binary_logits(z / temperature, y) for z in (student_logits, teacher_logits))
    target = softened_kl(student, teacher, 1.0, reduction) * temperature**2
    student, teacher = (other_classes(logits, y) for logits in (student_logits, teacher_logits))
    return target, softened_kl(student, teacher, temperature, reduction)


def _binary_logits(logits: Tensor, y: Tensor) -> Tensor:
    """[N, 2] logits of a sample's own class and of all other classes together."""
    own = logits.gather(1, y.unsqueeze(1)).squeeze(1)
    return torch.stack([own, other_classes(logits, y).logsumexp(dim=1)], dim=1)
