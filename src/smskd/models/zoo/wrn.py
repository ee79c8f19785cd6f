"""Wide residual networks (Zagoruyko and Komodakis 2016, arXiv 1605.07146)."""

from collections.abc import Iterator
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.features import PREACTIVATION
from smskd.models.zoo.base import ZooModel
from smskd.models.zoo.blocks import init_convolutions
from smskd.models.zoo.resnet import conv3x3


class PreactivationBlock(nn.Module):
    """Batch norm, ReLU and convolution, twice, beside a shortcut.

    Where the width changes the shortcut starts after the first batch norm and ReLU, otherwise before them.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.convShortcut: nn.Module | None = None  # named as in the published checkpoints
        if inputs != outputs:
            self.convShortcut = nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)

    def forward(self, x: Tensor, normed: Tensor | None = None) -> Tensor:
        """The block's raw sum; ``normed`` is the first batch norm's output, where that is known already."""
        active = F.relu(self.bn1(x), inplace=True) if normed is None else F.relu(normed)
        shortcut: Tensor = x if self.convShortcut is None else self.convShortcut(active)
        inner: Tensor = F.relu(self.bn2(self.conv1(active)), inplace=True)
        inner = self.conv2(inner)
        inner += shortcut
        return inner


class WideStage(nn.Module):
    """Blocks of one width. The first may halve the picture."""

    def __init__(self, blocks: int, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        first = PreactivationBlock(inputs, outputs, stride)
        rest = (PreactivationBlock(outputs, outputs, stride=1) for _ in range(blocks - 1))
        self.layer = nn.Sequential(first, *rest)

    @property
    def first_norm(self) -> nn.BatchNorm2d:
        """The batch norm that the stage begins with."""
        return cast(PreactivationBlock, self.layer[0]).bn1

    def normalise(self, x: Tensor) -> Tensor:
        """The batch norm that the stage begins with, applied."""
        normed: Tensor = self.first_norm(x)
        return normed

    def forward(self, x: Tensor, normed: Tensor) -> Tensor:
        """The raw sum of the last block; ``normed`` is :meth:`normalise` of x."""
        for number, block in enumerate(self.layer):
            x = block(x, normed) if number == 0 else block(x)
        return x


class WideResNet(ZooModel):
    """A wide ResNet of 6n+4 layers, as RepDistiller builds it, without dropout.

    Its stem and stage features are raw sums: no batch norm, no ReLU. A stage's pre-activation is the batch
    norm that comes next applied to it. The network computes that anyway and here does so once, where the
    official code does it once more for the feature, which moves the running statistics twice a step in train
    mode.

    Args:
        depth: number of layers, 6n+4: 16, 28, 40.
        widen: the stages have 16, 32 and 64 channels times this.
        classes: number of classes.
        channels: channels of the pictures.

    Raises:
        UserError: the depth is not 6n+4.
    """

    stage_count = 3

    def __init__(self, depth: int, widen: int, classes: int = 100, channels: int = 3) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise UserError(f"a wide ResNet has 6n+4 layers (16, 28, 40, ...), not {depth}")
        blocks = (depth - 4) // 6
        self.conv1 = conv3x3(channels, 16)
        self.block1 = WideStage(blocks, 16, 16 * widen, stride=1)
        self.block2 = WideStage(blocks, 16 * widen, 32 * widen, stride=2)
        self.block3 = WideStage(blocks, 32 * widen, 64 * widen, stride=2)
        self.bn1 = nn.BatchNorm2d(64 * widen)
        self.fc = nn.Linear(64 * widen, classes)
        init_convolutions(self)
        nn.init.zeros_(self.fc.bias)

    @property
    def classifier(self) -> nn.Linear:
        return self.fc

    @property
    def stage_norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The first batch norm behind each stage."""
        return self.block2.first_norm, self.block3.first_norm, self.bn1

    def walk(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        x = self.conv1(x)
        yield "stem", x
        x = self.block1(x, self.block1.normalise(x))
        yield "stage1", x
        normed = self.block2.normalise(x)
        yield "stage1" + PREACTIVATION, normed
        x = self.block2(x, normed)
        yield "stage2", x
        normed = self.block3.normalise(x)
        yield "stage2" + PREACTIVATION, normed
        x = self.block3(x, normed)
        yield "stage3", x
        normed = self.bn1(x)
        yield "stage3" + PREACTIVATION, normed
        x = F.relu(normed).mean(dim=(2, 3))
        yield "pooled", x
        yield "logits", self.fc(x)
