"""Similarity of representations."""

import torch
from torch import Tensor


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Centered kernel alignment with a linear kernel, from 0 to 1; it ignores rotations and one common scale.

    ``||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F)`` of centered features: Kornblith et al., Similarity of Neural Network
    Representations Revisited (ICML 2019, arXiv 1905.00414). It is biased upwards where there are few images and many
    channels.

    Args:
        first: [N, channels] of N images.
        second: [N, other channels] of the same images.

    Returns:
        The similarity; 0 where a feature is the same for all images.
    """
    x, y = (feature.double() - feature.double().mean(dim=0) for feature in (first, second))
    scale = torch.linalg.matrix_norm(x.T @ x) * torch.linalg.matrix_norm(y.T @ y)
    return float(torch.linalg.matrix_norm(y.T @ x) ** 2 / scale) if scale > 0 else 0.0
