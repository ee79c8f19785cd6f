"""The catalog of the zoo: every model by name."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from smskd.models.zoo.base import ZooModel
from smskd.models.zoo.mobilenetv2 import MobileNetV2
from smskd.models.zoo.mobilenetv2_tinyimagenet import MobileNetV2TinyImageNet
from smskd.models.zoo.resnet import ResNet
from smskd.models.zoo.resnet18 import ResNet18
from smskd.models.zoo.resnet50 import ResNet50
from smskd.models.zoo.shufflenetv1 import ShuffleNetV1
from smskd.models.zoo.shufflenetv2 import ShuffleNetV2
from smskd.models.zoo.vgg import VGG
from smskd.models.zoo.wrn import WideResNet


class Entry(NamedTuple):
    """The factory of a model, and its description in a line."""

    factory: Callable[..., ZooModel]
    """Takes ``classes`` and ``channels``."""
    description: str


def _narrow(depth: int, width: int) -> Entry:
    factory = partial(ResNet, depth, stem=width, widths=(width, 2 * width, 4 * width))
    return Entry(factory, f"ResNet of {depth} layers, stages of {width}, {2 * width}, {4 * width} channels")


CATALOG: dict[str, Entry] = {
    "resnet8": Entry(partial(ResNet, 8), "ResNet of 8 layers, stages of 16, 32, 64 channels"),
    "resnet14": Entry(partial(ResNet, 14), "ResNet of 14 layers, stages of 16, 32, 64 channels"),
    "resnet20": Entry(partial(ResNet, 20), "ResNet of 20 layers, stages of 16, 32, 64 channels"),
    "resnet32": Entry(partial(ResNet, 32), "ResNet of 32 layers, stages of 16, 32, 64 channels"),
    "resnet44": Entry(partial(ResNet, 44), "ResNet of 44 layers, stages of 16, 32, 64 channels"),
    "resnet56": Entry(partial(ResNet, 56), "ResNet of 56 layers, stages of 16, 32, 64 channels"),
    "resnet110": Entry(partial(ResNet, 110), "ResNet of 110 layers, stages of 16, 32, 64 channels"),
    "resnet8x4": Entry(
        partial(ResNet, 8, stem=32, widths=(64, 128, 256)),
        "ResNet of 8 layers, stages of 64, 128, 256 channels",
    ),
    "resnet32x4": Entry(
        partial(ResNet, 32, stem=32, widths=(64, 128, 256)),
        "ResNet of 32 layers, stages of 64, 128, 256 channels",
    ),
    "resnet8_w2": _narrow(8, 2),
    "resnet8_w4": _narrow(8, 4),
    "resnet8_w8": _narrow(8, 8),
    "resnet14_w2": _narrow(14, 2),
    "resnet14_w4": _narrow(14, 4),
    "resnet14_w8": _narrow(14, 8),
    "resnet20_w2": _narrow(20, 2),
    "resnet20_w4": _narrow(20, 4),
    "resnet20_w8": _narrow(20, 8),
    "ResNet18": Entry(ResNet18, "ResNet of 18 layers in basic blocks, stages of 64 to 512 channels"),
    "ResNet50": Entry(ResNet50, "ResNet of 50 layers in bottleneck blocks, stages of 256 to 2048 channels"),
    "wrn_16_1": Entry(partial(WideResNet, 16, 1), "wide ResNet of 16 layers, width 1"),
    "wrn_16_2": Entry(partial(WideResNet, 16, 2), "wide ResNet of 16 layers, width 2"),
    "wrn_40_1": Entry(partial(WideResNet, 40, 1), "wide ResNet of 40 layers, width 1"),
    "wrn_40_2": Entry(partial(WideResNet, 40, 2), "wide ResNet of 40 layers, width 2"),
    "vgg8": Entry(partial(VGG, (1, 1, 1, 1, 1)), "VGG with batch norm, 5 convolutions"),
    "vgg11": Entry(partial(VGG, (1, 1, 2, 2, 2)), "VGG with batch norm, 8 convolutions"),
    "vgg13": Entry(partial(VGG, (2, 2, 2, 2, 2)), "VGG with batch norm, 10 convolutions"),
    "vgg16": Entry(partial(VGG, (2, 2, 3, 3, 3)), "VGG with batch norm, 13 convolutions"),
    "vgg19": Entry(partial(VGG, (2, 2, 4, 4, 4)), "VGG with batch norm, 16 convolutions"),
    "MobileNetV2": Entry(MobileNetV2, "MobileNetV2 of half width"),
    "mobilenetv2_tinyimagenet": Entry(MobileNetV2TinyImageNet, "MobileNetV2 of full width for Tiny ImageNet"),
    "ShuffleV1": Entry(ShuffleNetV1, "ShuffleNet with three groups"),
    "ShuffleV2": Entry(ShuffleNetV2, "ShuffleNetV2 of width 1"),
}


def factory(name: str) -> Callable[..., ZooModel]:
    """The factory of a model of the zoo. It takes ``classes`` and ``channels``.

    Args:
        name: one of :func:`smskd.models.names`.

    Raises:
        KeyError: there is no such model.
    """
    return CATALOG[name].factory
