"""How a frozen network behaves in eval mode: whether images affect each other, whether its buffers change."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from smskd.interfaces.features import FeatureModel
from smskd.interfaces.inputs import Inputs, take
from smskd.models.dry_run import preserve_state
from smskd.models.probe import TOLERANCE, close, full_precision, probe_inputs, readable_names

_HALF = 2

_ROUNDINGS = 16
"""How many times the precision of a 16-bit type its outputs may differ between batch sizes."""


@dataclass(frozen=True)
class Behaviour:
    """A network's behaviour in eval mode.

    Attributes:
        sees_images_alone: whether the outputs for an image depend on that image alone. They do not where a batch norm
            uses the statistics of the batch, or where random numbers are drawn.
        changes_buffers: whether a forward pass changes buffers.
    """

    sees_images_alone: bool
    changes_buffers: bool


def behaviour_of(model: FeatureModel, example: Inputs | None) -> Behaviour:
    """The behaviour of a network, by its layers and by comparing the outputs of a batch with those of its halves.

    Args:
        model: in eval mode, as far as its modules obey ``eval()``. It is left as it is.
        example: images [N, channels, height, width], for their shape, or samples of several tensors by name; None:
            only the layers are considered.
    """
    structural = Behaviour(
        sees_images_alone=not any(_uses_batch_statistics(module) for module in model.modules()),
        changes_buffers=any(module.training for module in model.modules()),
    )
    if example is None:
        return structural
    with preserve_state(model), full_precision():
        before = [buffer.clone() for buffer in model.buffers()]
        alone = structural.sees_images_alone and _halves_agree(model, probe_inputs(model, example, 2 * _HALF))
        changed = not _equal(before, list(model.buffers()))
    return Behaviour(alone, structural.changes_buffers or changed)


def _uses_batch_statistics(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and (module.training or module.running_mean is None)


def _halves_agree(model: FeatureModel, images: Inputs) -> bool:
    names = readable_names(model)
    try:
        whole = model.extract(images, names)
        halves = [model.extract(half, names) for half in (take(images, slice(_HALF)), take(images, slice(_HALF, None)))]
    except Exception:  # such as of a network that takes batches of one size alone
        return False
    tolerance = max(TOLERANCE, *(_ROUNDINGS * torch.finfo(feature.dtype).eps for feature in whole.values()))
    return all(_agree(torch.cat([half[name] for half in halves]), whole[name], tolerance) for name in names)


def _agree(one: Tensor, other: Tensor, tolerance: float) -> bool:
    """Whether outputs are equal but for rounding. Where one is NaN or infinite, so must the other be."""
    finite = other.isfinite()
    if not torch.equal(one.isfinite(), finite):
        return False
    return close(one.where(finite, 0), other.where(finite, 0), tolerance)


def _equal(some: list[Tensor], others: list[Tensor]) -> bool:
    return len(some) == len(others) and all(torch.equal(*pair) for pair in zip(some, others, strict=True))
