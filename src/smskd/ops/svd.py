"""Right singular vectors of a batch of matrices, with a finite gradient also where singular values coincide."""

from typing import Any

import torch
from torch import Tensor

COINCIDE = 1e-5
"""Difference of two squared singular values, relative to the largest one, up to which they count as equal."""


def right_singular_vectors(matrices: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The leading right singular vectors and singular values.

    The gradient of singular vectors divides by differences of squared singular values. Where two values are equal up
    to rounding (several dead channels, a sample of zeros) the vectors are not determined, and the component of the
    gradient that divides by their difference is left out; otherwise it is the gradient of ``torch.linalg.svd``. The
    singular values carry no gradient.

    Args:
        matrices: [N, rows, columns].
        rank: number of vectors; fewer are returned where the matrices have fewer.

    Returns:
        Vectors [N, columns, rank] and values [N, rank], largest first. The sign of a vector is arbitrary.
    """
    vectors, values = _RightSingularVectors.apply(matrices)
    return vectors[..., :rank], values[..., :rank]


class _RightSingularVectors(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrices: Tensor) -> tuple[Tensor, Tensor]:
        _, values, transposed = torch.linalg.svd(matrices, full_matrices=False)
        vectors = transposed.transpose(-2, -1).contiguous()
        ctx.save_for_backward(matrices, vectors, values)
        ctx.mark_non_differentiable(values)
        return vectors, values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """With G = A^T A and its eigenvectors V: dV = V (F o V^T dG V) + (1 - V V^T) dG V / s^2."""
        matrices, vectors, values = ctx.saved_tensors
        gradient = gradients[0]
        along = vectors.transpose(-2, -1) @ gradient
        gram = vectors @ (_inverse_differences(values) * along) @ vectors.transpose(-2, -1)
        if vectors.shape[-2] > vectors.shape[-1]:
            outside = gradient - vectors @ along
            gram = gram + (outside * _inverse_squares(values)) @ vectors.transpose(-2, -1)
        result: Tensor = matrices @ (gram + gram.transpose(-2, -1))
        return result


def _inverse_differences(values: Tensor) -> Tensor:
    """F: 1 / (s_j^2 - s_i^2) at [i, j], zero where the two coincide."""
    row, column = values.unsqueeze(-1), values.unsqueeze(-2)
    difference = (column - row) * (column + row)
    return _inverse(difference, values)


def _inverse_squares(values: Tensor) -> Tensor:
    return _inverse(values.square(), values).unsqueeze(-2)


def _inverse(x: Tensor, values: Tensor) -> Tensor:
    largest = values.amax(-1).square()
    known = x.abs() > (COINCIDE * largest).reshape(-1, *(1,) * (x.dim() - 1))
    return torch.where(known, 1 / torch.where(known, x, 1), 0)
