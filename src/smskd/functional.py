"""The maths that methods and anchors share: softened divergences, true class probability, distances."""

import functools
from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")

ALIKE = 1e-5
"""Deviation, relative to the values, up to which they count as all alike: what float32 leaves of logits near 100."""


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: the function computes in float32 at least, whatever autocast says around it.

    Tensors of float16 or bfloat16 (alone, in a list or in a tuple) arrive as float32; float32 and float64
    stay as they are. Exponentials, norms and sums over a batch lose too much in 16 bits.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        wide = [_widen(value) for value in args]
        wide_by_name = {name: _widen(value) for name, value in kwargs.items()}
        with torch.autocast(_device_type(*wide, *wide_by_name.values()), enabled=False):
            return function(*wide, **wide_by_name)

    return run


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


def safe_normalize(x: Tensor, dim: int = 1, eps: float = 1e-12, offset: float = 0.0) -> Tensor:
    """x / (max(|x|, eps) + offset) along a dimension, with gradient zero where the norm is at most eps.

    The value is the one of ``torch.nn.functional.normalize`` (at offset 0). Its gradient at a zero vector
    is of size 1/eps, which points nowhere and ruins a training step; a vector without a direction gets none
    here.

    Args:
        x: any shape, float32 or float64.
        dim: the dimension of the vectors.
        eps: smallest norm that counts as one.
        offset: added to the norm.

    Returns:
        Same shape as x.
    """
    square = x.square().sum(dim, keepdim=True)
    has_direction = square > eps**2
    x = torch.where(has_direction, x, x.detach())
    norm = torch.where(has_direction, square, eps**2).sqrt()
    return x / (norm + offset)


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


def correlation(x: Tensor, target: Tensor, dim: int, eps: float = 1e-8) -> Tensor:
    """Pearson's correlation along a dimension: the centred inner product over (norm * norm + eps).

    Values of x that are all alike but for rounding correlate with nothing: 0 here, without gradient. Published
    code gives them gradients of 1e6.

    Args:
        x: any shape, float32 or float64.
        target: of the same shape; receives no gradient.
        dim: the dimension of the vectors; it is gone from the result.
        eps: added to the product of the norms.
    """
    target = target.detach()
    centred, goal = (values - values.mean(dim, keepdim=True) for values in (x, target))
    square = centred.square().sum(dim)
    varies = square > ALIKE**2 * x.square().sum(dim)
    norm = torch.where(varies, square, 1.0).sqrt()
    return torch.where(varies, (centred * goal).sum(dim) / (norm * goal.norm(dim=dim) + eps), 0.0)


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


def differentiated(function: Callable[[Tensor], tuple[Tensor, R]], x: Tensor) -> tuple[Tensor, R]:
    """A scalar function's value whose gradient is taken at once, so that what it read may change before backward.

    For a function that reads a large memory which is updated in place: autograd would need a copy of it.

    Args:
        function: from x to a scalar and anything else.
        x: its argument, any shape.

    Returns:
        The scalar, with its gradient to x, and what else the function gave.
    """
    if not (torch.is_grad_enabled() and x.requires_grad):
        return function(x)
    leaf = x.detach().requires_grad_()
    value, other = function(leaf)
    (gradient,) = torch.autograd.grad(value, leaf)
    return value.detach() + ((x - x.detach()) * gradient).sum(), other


def pairwise_differences(x: Tensor) -> tuple[Tensor, Tensor]:
    """All differences of the rows of x and their squared lengths.

    Taken directly, not from the Gram matrix: rows that coincide then differ by exactly zero.

    Args:
        x: [N, width].

    Returns:
        Differences [N, N, width], entry (i, j) being x_j - x_i, and squared lengths [N, N].
    """
    differences = x.unsqueeze(0) - x.unsqueeze(1)
    return differences, differences.square().sum(dim=2)


def safe_sqrt(square: Tensor, eps: float = 1e-12) -> Tensor:
    """sqrt(max(square, eps)), with gradient zero where the clamp acts."""
    return torch.where(square > eps, square, eps).sqrt()


def pairwise_distances(x: Tensor, eps: float = 1e-12) -> Tensor:
    """Euclidean distances of the rows of x; the diagonal is exactly zero.

    Squared distances are clamped at eps before the root, so that rows that coincide have a gradient of zero
    and not an infinite one.

    Args:
        x: [N, width].
        eps: smallest squared distance.

    Returns:
        [N, N].
    """
    return distances_from(pairwise_differences(x)[1], eps)


def distances_from(square: Tensor, eps: float = 1e-12) -> Tensor:
    """Distances [N, N] from squared ones, clamped at eps, with a diagonal of exactly zero."""
    diagonal = torch.eye(len(square), dtype=torch.bool, device=square.device)
    return safe_sqrt(square, eps).masked_fill(diagonal, 0.0)


def attention_map(x: Tensor, power: int) -> Tensor:
    """Where a map is active: its powers averaged over the channels, flattened, divided by their norm.

    Args:
        x: [N, channels, height, width], float32 or float64.
        power: exponent of the activations.

    Returns:
        [N, height * width]. A sample that is zero everywhere stays zero, with gradient zero.
    """
    return safe_normalize(torch.flatten(x.pow(power).mean(dim=1), 1))


def pool_to_smaller(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Averages the larger of two maps down to the size of the smaller one (adaptive average pooling).

    Published code compares heights only and pools to a square; for square maps this is the same. Otherwise
    each dimension is brought to the smaller of the two.

    Args:
        student: [N, channels, height, width].
        teacher: [N, channels, height, width], both may differ.

    Returns:
        Both maps with equal height and width.
    """
    size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
    return _pool(student, size), _pool(teacher, size)


def _pool(x: Tensor, size: tuple[int, int]) -> Tensor:
    return x if tuple(x.shape[2:]) == size else F.adaptive_avg_pool2d(x, size)


def _widen(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
    if isinstance(value, (list, tuple)):
        return [_widen(item) for item in value]
    return value


def _device_type(*values: Any) -> str:
    for value in values:
        if isinstance(value, Tensor):
            return value.device.type
        if isinstance(value, (list, tuple)) and value:
            return _device_type(*value)
    return "cpu"
