"""The names of the models of the zoo, in a file that does not import torch."""

_NAMES = (
    "resnet8",
    "resnet14",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
    "resnet8x4",
    "resnet32x4",
    "resnet8_w2",
    "resnet8_w4",
    "resnet8_w8",
    "resnet14_w2",
    "resnet14_w4",
    "resnet14_w8",
    "resnet20_w2",
    "resnet20_w4",
    "resnet20_w8",
    "ResNet18",
    "ResNet50",
    "wrn_16_1",
    "wrn_16_2",
    "wrn_40_1",
    "wrn_40_2",
    "vgg8",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "MobileNetV2",
    "mobilenetv2_tinyimagenet",
    "ShuffleV1",
    "ShuffleV2",
)


def names() -> tuple[str, ...]:
    """The names of the models of the zoo, in the order of the catalog. torch is not imported."""
    return _NAMES
