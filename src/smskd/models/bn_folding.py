"""Folding batch norms into the convolutions in front of them, in a model that is not trained any more."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from smskd.interfaces.features import LOGITS, PREACTIVATION, FeatureModel

TOLERANCE = 1e-4
"""Largest difference of an output, as a share of its largest value, that rounding explains in a deep network."""

_PICTURES = 2


def folded(model: FeatureModel, example: Tensor) -> FeatureModel | None:
    """A copy of the model with each batch norm that directly follows a convolution folded into it.

    Which do is seen in a forward pass. The copy is run beside the model, and None is given if any feature differs by
    more than rounding, or if nothing could be folded.

    Args:
        model: in eval mode; it is left as it is.
        example: pictures [N, channels, height, width], for their shape and device.
    """
    names = [
        *model.feature_names,
        *(name + PREACTIVATION for name in sorted(model.preactivation_names)),
        LOGITS,
    ]
    pictures = _pictures(model, example)
    with torch.no_grad(), _full_products():
        pairs, before = _pairs(model, pictures, names)
        if not pairs:
            return None
        twin = copy.deepcopy(model)
        for convolution, norm in pairs:
            _fold(twin, convolution, norm)
        after = twin.extract(pictures, names)
    same = all(close(after[name], before[name]) for name in names)
    return twin if same else None


def _pairs(model: FeatureModel, pictures: Tensor, names: list[str]) -> tuple[list[tuple[str, str]], dict[str, Tensor]]:
    """Names of convolutions and the batch norms that read their outputs, and the features of the pass."""
    made: dict[int, tuple[str, Tensor]] = {}
    read: dict[str, tuple[int, str]] = {}
    calls: dict[str, int] = {}

    def hook(name: str) -> Any:
        def watch(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            calls[name] = calls.get(name, 0) + 1
            if isinstance(module, nn.Conv2d):
                made[id(output)] = (name, output)  # held, so that no other tensor gets its id
            elif id(inputs[0]) in made:
                read[name] = (id(inputs[0]), made[id(inputs[0])][0])

        return watch

    handles = [
        module.register_forward_hook(hook(name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d)
    ]
    try:
        found = model.extract(pictures, names)
    finally:
        for handle in handles:
            handle.remove()
    tapped = {id(tensor) for tensor in found.values()}
    pairs = [
        (convolution, norm)
        for norm, (identity, convolution) in read.items()
        if identity not in tapped and calls[norm] == calls[convolution] == 1
    ]
    return pairs, found


def _fold(model: nn.Module, convolution: str, norm: str) -> None:
    made, read = model.get_submodule(convolution), model.get_submodule(norm)
    assert isinstance(made, nn.Conv2d)
    assert isinstance(read, nn.BatchNorm2d)
    fused = fuse_conv_bn_eval(made, read)
    _replace(model, convolution, fused.requires_grad_(False))
    _replace(model, norm, nn.Identity())


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, module)


def _pictures(model: nn.Module, example: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(_PICTURES, *example.shape[1:], generator=generator)
    weight = next(iter(model.parameters()), example)
    return noise.to(device=weight.device, dtype=weight.dtype)


@contextmanager
def _full_products() -> Iterator[None]:
    """A GPU does not round the factors of products to TF32, which is coarser than the tolerance."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def close(one: Tensor, other: Tensor) -> bool:
    """Whether an output is what it should be, but for rounding."""
    scale = other.abs().max()
    return bool(torch.isfinite(one).all()) and bool((one - other).abs().max() <= TOLERANCE * scale + 1e-6)
