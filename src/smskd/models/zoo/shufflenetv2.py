"""ShuffleNetV2 for small images (Ma et al. 2018, arXiv 1807.11164), width 1."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smskd.interfaces.features import LOGITS
from smskd.models.zoo.base import Step, ZooModel
from smskd.models.zoo.blocks import Stage, global_mean, shuffle_channels, stage_steps

_STEM = 24


class Unit(nn.Module):
    """Convolves half of the channels and keeps the others. The output is that before the ReLU and the shuffle."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1 = _pointwise(half, half)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = _depthwise(half, stride=1)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = _pointwise(half, half)
        self.bn3 = nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        kept, out = x.chunk(2, dim=1)
        out = F.relu(self.bn1(self.conv1(out)), inplace=True)
        out = self.bn2(self.conv2(out))
        out = self.bn3(self.conv3(out))
        return torch.cat([kept, out], dim=1)


class DownUnit(nn.Module):
    """Halves the resolution in two branches, which are concatenated. The output is that before ReLU and shuffle."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.conv1 = _depthwise(inputs, stride=2)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv2 = _pointwise(inputs, half)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = _pointwise(inputs, half)
        self.bn3 = nn.BatchNorm2d(half)
        self.conv4 = _depthwise(half, stride=2)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = _pointwise(half, half)
        self.bn5 = nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        left = self.bn1(self.conv1(x))
        left = self.bn2(self.conv2(left))
        right = F.relu(self.bn3(self.conv3(x)), inplace=True)
        right = self.bn4(self.conv4(right))
        right = self.bn5(self.conv5(right))
        return torch.cat([left, right], dim=1)


class ShuffledStage(Stage):
    """Units with a ReLU and a channel shuffle behind each. On the channels that a unit keeps the ReLU has no effect."""

    def activate(self, x: Tensor, inplace: bool = False) -> Tensor:
        return shuffle_channels(F.relu(x, inplace=inplace), groups=2)


class ShuffleNetV2(ZooModel):
    """ShuffleNetV2 as in RepDistiller: a 1x1 stem of stride 1, one unit more per stage than in the paper.

    A stage's pre-activation is the input of its last ReLU, with channels not yet shuffled.

    Args:
        classes: number of classes.
        channels: channels of the images.
    """

    stage_count = 3

    def __init__(self, classes: int = 100, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = _pointwise(channels, _STEM)
        self.bn1 = nn.BatchNorm2d(_STEM)
        self.layer1 = _stage(3, _STEM, 116)
        self.layer2 = _stage(7, 116, 232)
        self.layer3 = _stage(3, 232, 464)
        self.conv2 = _pointwise(464, 1024)
        self.bn2 = nn.BatchNorm2d(1024)
        self.linear = nn.Linear(1024, classes)

    @property
    def classifier(self) -> nn.Linear:
        return self.linear

    def steps(self) -> tuple[Step, ...]:
        stages = stage_steps(self.layer1, self.layer2, self.layer3)
        return ("stem", self._stem), *stages, ("pooled", self._pooled), (LOGITS, self.linear)

    def _stem(self, x: Tensor) -> Tensor:
        return F.relu(self.bn1(self.conv1(x)), inplace=True)

    def _pooled(self, x: Tensor) -> Tensor:
        return global_mean(F.relu(self.bn2(self.conv2(x)), inplace=True))


def _pointwise(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=1, bias=False)


def _depthwise(width: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(width, width, kernel_size=3, stride=stride, padding=1, groups=width, bias=False)


def _stage(units: int, inputs: int, outputs: int) -> Stage:
    return ShuffledStage(DownUnit(inputs, outputs), *(Unit(outputs) for _ in range(units)))
