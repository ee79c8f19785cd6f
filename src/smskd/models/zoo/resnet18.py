"""ResNet-18 for small images: four stages of basic blocks (He et al. 2016, arXiv 1512.03385).

The stem is a 3x3 convolution of stride 1 without max pooling, as in megvii-research/mdistiller
(mdistiller/models/cifar/resnetv2.py), where it is the teacher of Tiny ImageNet. It takes images of any size.
"""

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from smskd.interfaces.features import LOGITS
from smskd.models.zoo.base import Step, ZooModel
from smskd.models.zoo.blocks import Stage, global_mean, init_convolutions, stage_steps
from smskd.models.zoo.projection import projection
from smskd.models.zoo.resnet import conv3x3


class ShortcutBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut. The output is their sum, before the ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(projection(inputs, outputs, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shortcut: Tensor = self.shortcut(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.bn2(self.conv2(x))
        x += shortcut
        return x


class ResNet18(ZooModel):
    """ResNet-18 with stages of 2 blocks and, at width 64, of 64, 128, 256 and 512 channels.

    Args:
        classes: number of classes.
        channels: channels of the images.
        width: channels of the stem and of the first stage.
    """

    stage_count = 4

    def __init__(self, classes: int = 100, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, stride=1)
        self.layer2 = _stage(width, 2 * width, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, stride=2)
        self.layer4 = _stage(4 * width, 8 * width, stride=2)
        self.linear = nn.Linear(8 * width, classes)
        init_convolutions(self)

    @property
    def classifier(self) -> nn.Linear:
        return self.linear

    @property
    def stage_norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The second batch norm of each stage's last block. The shortcut is added to its output, before the ReLU."""
        stages = (self.layer1, self.layer2, self.layer3, self.layer4)
        return tuple(cast(ShortcutBlock, stage[-1]).bn2 for stage in stages)

    def steps(self) -> tuple[Step, ...]:
        stages = stage_steps(self.layer1, self.layer2, self.layer3, self.layer4)
        return ("stem", self._stem), *stages, ("pooled", global_mean), (LOGITS, self.linear)

    def _stem(self, x: Tensor) -> Tensor:
        return F.relu(self.bn1(self.conv1(x)), inplace=True)


def _stage(inputs: int, outputs: int, stride: int) -> Stage:
    return Stage(ShortcutBlock(inputs, outputs, stride), ShortcutBlock(outputs, outputs, stride=1))
