"""ShuffleNet for small images (Zhang et al. 2018, arXiv 1707.01083), three groups."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smskd.interfaces.features import LOGITS
from smskd.models.zoo.base import Step, ZooModel
from smskd.models.zoo.blocks import Stage, global_mean, shuffle_channels, stage_steps

_STEM = 24
_GROUPS = 3


class Unit(nn.Module):
    """Grouped 1x1, depthwise 3x3 and grouped 1x1 convolution and a shortcut. The output is that before the last ReLU.

    With stride 2 the shortcut is an average pooling and is concatenated to the channels, otherwise it is added.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        branch = outputs - inputs if stride == 2 else outputs
        inner = branch // 4
        self.stride = stride
        self.groups = 1 if inputs == _STEM else _GROUPS
        self.conv1 = nn.Conv2d(inputs, inner, kernel_size=1, groups=self.groups, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, kernel_size=3, stride=stride, padding=1, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, branch, kernel_size=1, groups=_GROUPS, bias=False)
        self.bn3 = nn.BatchNorm2d(branch)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = shuffle_channels(out, self.groups)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        if self.stride == 2:
            return torch.cat([out, F.avg_pool2d(x, 3, stride=2, padding=1)], dim=1)
        out += x
        return out


class ShuffleNetV1(ZooModel):
    """ShuffleNet as in RepDistiller: a 1x1 stem of stride 1, stages of 4, 8 and 4 units.

    Unlike in the paper, a ReLU follows the second convolution of a unit too.

    Args:
        classes: number of classes.
        channels: channels of the images.
    """

    stage_count = 3

    def __init__(self, classes: int = 100, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, _STEM, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM)
        self.layer1 = _stage(4, _STEM, 240)
        self.layer2 = _stage(8, 240, 480)
        self.layer3 = _stage(4, 480, 960)
        self.linear = nn.Linear(960, classes)

    @property
    def classifier(self) -> nn.Linear:
        return self.linear

    def steps(self) -> tuple[Step, ...]:
        stages = stage_steps(self.layer1, self.layer2, self.layer3)
        return ("stem", self._stem), *stages, ("pooled", global_mean), (LOGITS, self.linear)

    def _stem(self, x: Tensor) -> Tensor:
        return F.relu(self.bn1(self.conv1(x)), inplace=True)


def _stage(units: int, inputs: int, outputs: int) -> Stage:
    return Stage(Unit(inputs, outputs, stride=2), *(Unit(outputs, outputs, stride=1) for _ in range(units - 1)))
