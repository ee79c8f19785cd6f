"""ResNets for small images: three stages of basic blocks (He et al. 2016, arXiv 1512.03385)."""

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.features import LOGITS
from smskd.models.zoo.base import Step, ZooModel
from smskd.models.zoo.blocks import Stage, global_mean, init_convolutions, stage_steps
from smskd.models.zoo.projection import projection


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution without bias, padded so that only the stride changes the resolution."""
    return nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut. The output is their sum, before the ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(projection(inputs, outputs, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shortcut: Tensor = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.bn2(self.conv2(x))
        x += shortcut
        return x


class ResNet(ZooModel):
    """A ResNet of 6n+2 layers with 1x1 projections where the width changes, as in RepDistiller.

    Args:
        depth: number of layers, 6n+2: 8, 14, 20, 32, 44, 56, 110.
        stem: channels of the first convolution.
        widths: channels of the three stages, the second and third of which halve the resolution.
        classes: number of classes.
        channels: channels of the images.

    Raises:
        UserError: the depth is not 6n+2.
    """

    stage_count = 3

    def __init__(
        self,
        depth: int,
        stem: int = 16,
        widths: tuple[int, int, int] = (16, 32, 64),
        classes: int = 100,
        channels: int = 3,
    ) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise UserError(f"a ResNet has 6n+2 layers (8, 14, 20, ...), not {depth}")
        blocks = (depth - 2) // 6
        self.conv1 = conv3x3(channels, stem)
        self.bn1 = nn.BatchNorm2d(stem)
        self.layer1 = _stage(blocks, stem, widths[0], stride=1)
        self.layer2 = _stage(blocks, widths[0], widths[1], stride=2)
        self.layer3 = _stage(blocks, widths[1], widths[2], stride=2)
        self.fc = nn.Linear(widths[2], classes)
        init_convolutions(self)

    @property
    def classifier(self) -> nn.Linear:
        return self.fc

    @property
    def stage_norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The second batch norm of each stage's last block. The shortcut is added to its output, before the ReLU."""
        return tuple(cast(BasicBlock, stage[-1]).bn2 for stage in (self.layer1, self.layer2, self.layer3))

    def steps(self) -> tuple[Step, ...]:
        stages = stage_steps(self.layer1, self.layer2, self.layer3)
        return ("stem", self._stem), *stages, ("pooled", global_mean), (LOGITS, self.fc)

    def _stem(self, x: Tensor) -> Tensor:
        return F.relu(self.bn1(self.conv1(x)), inplace=True)


def _stage(blocks: int, inputs: int, outputs: int, stride: int) -> Stage:
    rest = (BasicBlock(outputs, outputs, stride=1) for _ in range(blocks - 1))
    return Stage(BasicBlock(inputs, outputs, stride), *rest)
