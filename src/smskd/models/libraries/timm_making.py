"""Networks of timm by name."""

from typing import Any

from torch import nn

from smskd.errors import not_installed
from smskd.models.libraries.making import Wanted, unknown

_HUB = ("hf-hub:", "hf_hub:", "local-dir:")


def make(wanted: Wanted) -> nn.Module:
    """The network: ``resnet18``, ``resnet18.a1_in1k``, ``hf-hub:ID`` or ``local-dir:FOLDER``.

    The size of the images is passed on where the network takes one.

    Raises:
        UserError: timm is not installed, has no such network, or the classes of its weights are others.
    """
    try:
        import timm
    except ImportError as error:
        raise not_installed("timm", "timm", error) from None
    if not wanted.name.startswith(_HUB) and not timm.is_model(wanted.name):
        raise unknown("timm", wanted.name, timm.list_models())
    channels, height, width = wanted.image_shape
    arguments: dict[str, Any] = {"in_chans": channels, **(wanted.options or {})}
    arguments.setdefault("num_classes", _classes(wanted))
    if arguments["num_classes"] is None:
        del arguments["num_classes"]
    if "img_size" in arguments:
        return timm.create_model(wanted.name, pretrained=wanted.pretrained, **arguments)
    try:
        return timm.create_model(wanted.name, pretrained=wanted.pretrained, img_size=(height, width), **arguments)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        return timm.create_model(wanted.name, pretrained=wanted.pretrained, **arguments)


def _classes(wanted: Wanted) -> int | None:
    """The number of classes to ask for; None: that of the weights."""
    if wanted.head == "none":
        return 0
    if wanted.head == "own":
        return None
    if wanted.pretrained and not wanted.name.startswith(_HUB):
        import timm

        config = timm.get_pretrained_cfg(wanted.name)
        if config is not None:
            wanted.check_classes(config.num_classes)
    return wanted.classes
