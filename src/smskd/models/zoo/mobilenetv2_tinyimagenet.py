"""MobileNetV2 of full width for images of 64x64 (Sandler et al. 2018, arXiv 1801.04381).

As in megvii-research/mdistiller, mdistiller/models/cifar/mv2_tinyimagenet.py, a student of Tiny ImageNet: the stem is a
1x1 convolution that pads, the last two strides are 1, and convolutions have biases.
"""

from torch import Tensor, nn

from smskd.interfaces.features import LOGITS
from smskd.models.zoo.base import Step, ZooModel
from smskd.models.zoo.blocks import global_mean

_GROUPS = (  # expansion, channels, blocks, stride
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 1),
    (6, 320, 1, 1),
)
_STEM, _LAST = 32, 1280


class LinearBottleneck(nn.Module):
    """1x1 expansion, depthwise 3x3 and linear 1x1 convolution; a shortcut where input and output have one shape."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.shortcut = stride == 1 and inputs == outputs
        self.residual = nn.Sequential(
            *_convolution(inputs, inner),
            nn.Conv2d(inner, inner, kernel_size=3, stride=stride, padding=1, groups=inner),
            nn.BatchNorm2d(inner),
            nn.ReLU6(inplace=True),
            nn.Conv2d(inner, outputs, kernel_size=1),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.residual(x)
        return x + out if self.shortcut else out


class MobileNetV2TinyImageNet(ZooModel):
    """MobileNetV2 of width 1 with a resolution of 9x9 at the end, of images of 64x64.

    Stages end with the second, third and fourth group of blocks, and with the last convolution. The outputs of the
    first three are linear, so there are no pre-activations. The published code has a 1x1 convolution on the pooled
    vector for the classifier; here it is a linear layer of the same name, whose weight has two axes less.

    Args:
        classes: number of classes.
        channels: channels of the images.
    """

    stage_count = 4

    stage1: nn.Module
    stage2: nn.Module
    stage3: nn.Module
    stage4: nn.Module
    stage5: nn.Module
    stage6: nn.Module
    stage7: nn.Module

    def __init__(self, classes: int = 200, channels: int = 3) -> None:
        super().__init__()
        self.pre = nn.Sequential(*_convolution(channels, _STEM, padding=1))
        inputs = _STEM
        for number, (expansion, outputs, count, stride) in enumerate(_GROUPS, start=1):
            first = LinearBottleneck(inputs, outputs, stride, expansion)
            rest = [LinearBottleneck(outputs, outputs, 1, expansion) for _ in range(count - 1)]
            setattr(self, f"stage{number}", nn.Sequential(first, *rest) if rest else first)
            inputs = outputs
        self.conv1 = nn.Sequential(*_convolution(inputs, _LAST))
        self.conv2 = nn.Linear(_LAST, classes)

    @property
    def preactivation_names(self) -> frozenset[str]:
        return frozenset()

    @property
    def classifier(self) -> nn.Linear:
        return self.conv2

    def steps(self) -> tuple[Step, ...]:
        return (
            ("stem", self.pre),
            ("stage1", lambda x: self.stage2(self.stage1(x))),
            ("stage2", self.stage3),
            ("stage3", self.stage4),
            ("stage4", lambda x: self.conv1(self.stage7(self.stage6(self.stage5(x))))),
            ("pooled", global_mean),
            (LOGITS, self.conv2),
        )


def _convolution(inputs: int, outputs: int, padding: int = 0) -> tuple[nn.Module, ...]:
    """A 1x1 convolution with batch norm and ReLU6."""
    convolution = nn.Conv2d(inputs, outputs, kernel_size=1, padding=padding)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True)
