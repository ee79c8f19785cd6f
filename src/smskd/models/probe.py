"""Running a frozen network on random images to compare two ways of computing its features."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from smskd.interfaces.features import LOGITS, PREACTIVATION, FeatureModel
from smskd.interfaces.inputs import X, repeated
from smskd.models.dry_run import like_weights

TOLERANCE = 1e-4
"""Largest difference of an output, relative to its largest value, that float32 rounding explains in a deep network."""


def readable_names(model: FeatureModel) -> list[str]:
    """Every name that :meth:`FeatureModel.extract` takes."""
    before = (name + PREACTIVATION for name in sorted(model.preactivation_names))
    return [*model.feature_names, *before, LOGITS]


def probe_inputs(model: nn.Module, example: X, count: int) -> X:
    """Fixed random images [count, channels, height, width] for a model, on its device and of its type.

    The second half of them is brighter and of more contrast than the first. Random state is neither used nor changed.
    Of several tensors by name, the samples of the example again and again: any numbers would not do for token ids.

    Args:
        model: that they are for.
        example: images [N, channels, height, width], for their shape, or samples of several tensors by name.
        count: even.
    """
    if not isinstance(example, Tensor):
        return like_weights(model, repeated(example, count))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, *example.shape[1:], generator=generator)
    noise[count // 2 :] = 3 * noise[count // 2 :] + 1
    return like_weights(model, noise)


def close(one: Tensor, other: Tensor, tolerance: float = TOLERANCE) -> bool:
    """Whether an output is finite and equal to another but for rounding.

    Args:
        one: the output.
        other: the expected output, of the same shape.
        tolerance: the largest difference allowed, relative to the largest absolute value of ``other``.
    """
    difference = (one.double() - other.double()).abs().max()
    return bool(torch.isfinite(one).all()) and bool(difference <= tolerance * other.abs().max().double() + 1e-6)


def agree(one: Tensor, other: Tensor) -> bool:
    """Whether two outputs of the same shape are equal but for rounding, however small their values are."""
    difference = (one.double() - other.double()).abs().max()
    return bool(difference <= TOLERANCE * other.abs().max().double())


@contextmanager
def full_precision() -> Iterator[None]:
    """Within, a GPU does not round factors to TF32, which is coarser than the tolerance."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
