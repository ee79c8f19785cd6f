"""Networks of torchvision by name."""

from collections.abc import Callable
from typing import Any

from torch import nn

from smskd.errors import UserError
from smskd.models.libraries.making import Wanted, unknown

_CHANNELS = 3
_INITIALISED = ("inception_v3", "googlenet")
"""Networks that warn unless they are told whether to initialise their weights."""


def make(wanted: Wanted) -> nn.Module:
    """The network: ``resnet18``. The size of the images is passed on where the network takes one.

    Raises:
        UserError: torchvision has no such network, or the classes of its weights are others.
    """
    from torchvision import models

    names = models.list_models(module=models)
    if wanted.name not in names:
        raise unknown("torchvision", wanted.name, names)
    channels, height, width = wanted.image_shape
    if channels != _CHANNELS:
        raise UserError(
            f"the networks of torchvision take images of 3 channels, not {channels}; timm's take any number"
        )
    if wanted.head == "none":
        raise UserError("torchvision makes no network without its last layer (head: none); timm does")
    builder: Callable[..., nn.Module] = models.get_model_builder(wanted.name)
    options = dict(wanted.options or {})
    if wanted.name.startswith("vit_"):
        if height != width:
            raise UserError(f"torchvision's '{wanted.name}' takes square images, not {height}x{width}")
        options.setdefault("image_size", height)
    if wanted.name.startswith("maxvit"):
        options.setdefault("input_size", (height, width))
    if wanted.name in _INITIALISED and not wanted.pretrained:
        options.setdefault("init_weights", True)
    if not wanted.pretrained:
        return builder(weights=None, **{"num_classes": wanted.classes, **options})
    weights: Any = models.get_model_weights(wanted.name).DEFAULT
    found = len(weights.meta["categories"])
    wanted.check_classes(found)
    model = builder(weights=weights, **options)
    return model if wanted.head == "own" or found == wanted.classes else _with_new_head(model, wanted)


def _with_new_head(model: nn.Module, wanted: Wanted) -> nn.Module:
    """The network with a fresh last linear layer, and fresh ones of its auxiliary heads."""
    linear = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    heads = [name for name in linear if _named_as_aux(name)] + linear[-1:]
    if not linear:
        raise UserError(f"torchvision's '{wanted.name}' has no linear last layer that could be replaced (head: new)")
    for name in dict.fromkeys(heads):
        parent, _, own = name.rpartition(".")
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        if layer.out_features == model.get_submodule(linear[-1]).out_features or name == linear[-1]:
            setattr(model.get_submodule(parent), own, nn.Linear(layer.in_features, wanted.classes))
    return model


def _named_as_aux(name: str) -> bool:
    return "aux" in name.lower()
