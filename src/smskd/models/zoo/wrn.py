"""Wide residual networks (Zagoruyko and Komodakis 2016, arXiv 1605.07146)."""

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.features import LOGITS, PREACTIVATION
from smskd.models.zoo.base import Step, ZooModel
from smskd.models.zoo.blocks import global_mean, init_convolutions
from smskd.models.zoo.projection import projection
from smskd.models.zoo.resnet import conv3x3


class PreactivationBlock(nn.Module):
    """Batch norm, ReLU and convolution, twice, and a shortcut.

    Where the width changes, the shortcut starts behind the first batch norm and ReLU, otherwise in front of them.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.convShortcut: nn.Module | None = None  # named as in the published checkpoints
        if inputs != outputs:
            self.convShortcut = projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """The sum of shortcut and convolutions, without activation."""
        active = F.relu(self.bn1(x), inplace=True)
        return self._sum(active, x if self.convShortcut is None else self.convShortcut(active))

    def after_norm(self, normed: Tensor) -> Tensor:
        """The sum, from the output of the first batch norm; only where the width changes."""
        assert self.convShortcut is not None
        active = F.relu(normed)
        return self._sum(active, self.convShortcut(active))

    def _sum(self, active: Tensor, shortcut: Tensor) -> Tensor:
        inner: Tensor = F.relu(self.bn2(self.conv1(active)), inplace=True)
        inner = self.conv2(inner)
        inner += shortcut
        return inner


class WideStage(nn.Module):
    """Blocks of one width. The first may halve the resolution."""

    def __init__(self, blocks: int, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        first = PreactivationBlock(inputs, outputs, stride)
        rest = (PreactivationBlock(outputs, outputs, stride=1) for _ in range(blocks - 1))
        self.layer = nn.Sequential(first, *rest)

    @property
    def first_norm(self) -> nn.BatchNorm2d:
        """The batch norm that the stage begins with."""
        return cast(PreactivationBlock, self.layer[0]).bn1

    def forward(self, x: Tensor) -> Tensor:
        """The output of the last block, a sum without activation."""
        out: Tensor = self.layer(x)
        return out

    def after_norm(self, normed: Tensor) -> Tensor:
        """The same, from the output of :attr:`first_norm`; only where the stage changes the width."""
        x = cast(PreactivationBlock, self.layer[0]).after_norm(normed)
        for block in self.layer[1:]:
            x = block(x)
        return x


class WideResNet(ZooModel):
    """A wide ResNet of 6n+4 layers without dropout, as in RepDistiller.

    Stem and stage features have neither batch norm nor ReLU. A stage's pre-activation is the output of the batch norm
    that follows the stage, so it lies behind the stage's feature. It is computed once; the official code computes it
    once more to read it, which updates the running statistics twice in each training step.

    Args:
        depth: number of layers, 6n+4: 16, 28, 40.
        widen: factor of the stages' 16, 32 and 64 channels.
        classes: number of classes.
        channels: channels of the images.

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

    def steps(self) -> tuple[Step, ...]:
        return (
            ("stem", self.conv1),
            ("stage1", self.block1),
            ("stage1" + PREACTIVATION, self.block2.first_norm),
            ("stage2", self.block2.after_norm),
            ("stage2" + PREACTIVATION, self.block3.first_norm),
            ("stage3", self.block3.after_norm),
            ("stage3" + PREACTIVATION, self.bn1),
            ("pooled", lambda x: global_mean(F.relu(x))),
            (LOGITS, self.fc),
        )
