"""Norms, correlations and distances with gradients that stay finite, and attention maps."""

import torch
import torch.nn.functional as F
from torch import Tensor

from smskd.ops.divergences import ALIKE


def safe_normalize(x: Tensor, dim: int = 1, eps: float = 1e-12, offset: float = 0.0) -> Tensor:
    """x / (max(|x|, eps) + offset) along a dimension, with zero gradient where the norm is at most eps.

    With offset 0 the value is that of ``torch.nn.functional.normalize``, whose gradient at a zero vector is of size
    1/eps in an arbitrary direction and destroys a training step.

    Args:
        x: any shape, float32 or float64.
        dim: the dimension of the vectors.
        eps: lower bound of the norm.
        offset: added to the norm.

    Returns:
        Same shape as x.
    """
    square = x.square().sum(dim, keepdim=True)
    has_direction = square > eps**2
    x = torch.where(has_direction, x, x.detach())
    norm = torch.where(has_direction, square, eps**2).sqrt()
    return x / (norm + offset)


def correlation(x: Tensor, target: Tensor, dim: int, eps: float = 1e-8) -> Tensor:
    """Pearson's correlation along a dimension: the centred inner product over (norm * norm + eps).

    Where the values of x are all equal up to rounding, the correlation is 0 without gradient; in published code their
    gradients are about 1e6.

    Args:
        x: any shape, float32 or float64.
        target: of the same shape; receives no gradient.
        dim: the dimension of the vectors.
        eps: added to the product of the norms.

    Returns:
        The shape of x without ``dim``.
    """
    target = target.detach()
    centred, goal = (values - values.mean(dim, keepdim=True) for values in (x, target))
    square = centred.square().sum(dim)
    varies = square > ALIKE**2 * x.square().sum(dim)
    norm = torch.where(varies, square, 1.0).sqrt()
    return torch.where(varies, (centred * goal).sum(dim) / (norm * goal.norm(dim=dim) + eps), 0.0)


def pairwise_differences(x: Tensor) -> tuple[Tensor, Tensor]:
    """All differences between rows of x, and their squared lengths.

    Computed directly, not from the Gram matrix, so that equal rows differ by exactly zero.

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
    """Euclidean distances between the rows of x; the diagonal is exactly zero.

    Squared distances are clamped at eps before the root, so that the gradient of equal rows is zero, not infinite.

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
    """The spatial attention map: powers of the activations averaged over the channels, flattened, normalised.

    Args:
        x: [N, channels, height, width], float32 or float64.
        power: exponent of the activations.

    Returns:
        [N, height * width], unit vectors. A sample without any activation remains zero, with zero gradient.
    """
    return safe_normalize(torch.flatten(x.pow(power).mean(dim=1), 1))


def pool_to_smaller(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Pools the larger of two maps to the size of the smaller one (adaptive average pooling).

    Height and width are reduced to the smaller of the two each. Published code considers the heights only and pools to
    a square, which is the same for square maps.

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
