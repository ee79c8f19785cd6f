"""VGG networks with batch norm for small images (Simonyan and Zisserman 2015, arXiv 1409.1556)."""

from typing import cast

import torch.nn.functional as F
from torch import nn

from smskd.interfaces.features import LOGITS, PREACTIVATION
from smskd.models.zoo.base import Step, ZooModel
from smskd.models.zoo.blocks import global_mean, init_convolutions, init_small_linear

_WIDTHS = (64, 128, 256, 512, 512)

_POOLED_HEIGHT = 8
"""Height of the fourth block's output for images 64 high, for which RepDistiller pools it."""


class VGG(ZooModel):
    """Five blocks of 3x3 convolutions, as in RepDistiller. Features are read before the pooling.

    The first block is the stem. The first three are followed by 2x2 max pooling, the fourth only where its output is 8
    high, for images 64 to 71 high (in RepDistiller: exactly 64), the fifth by the global average and a linear layer.

    Args:
        layers: number of convolutions of each block.
        classes: number of classes.
        channels: channels of the images.
    """

    stage_count = 4

    def __init__(self, layers: tuple[int, int, int, int, int], classes: int = 100, channels: int = 3) -> None:
        super().__init__()
        self.block0 = _block(layers[0], channels, _WIDTHS[0])
        self.block1 = _block(layers[1], _WIDTHS[0], _WIDTHS[1])
        self.block2 = _block(layers[2], _WIDTHS[1], _WIDTHS[2])
        self.block3 = _block(layers[3], _WIDTHS[2], _WIDTHS[3])
        self.block4 = _block(layers[4], _WIDTHS[3], _WIDTHS[4])
        # Its name in published checkpoints is that of the property below, so it cannot be assigned as an attribute.
        self._modules["classifier"] = nn.Linear(_WIDTHS[4], classes)
        init_convolutions(self)
        init_small_linear(self.classifier)

    @property
    def classifier(self) -> nn.Linear:
        return cast(nn.Linear, self._modules["classifier"])

    @property
    def stage_norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The last batch norm of each block but the first, which is the stem."""
        blocks = (self.block1, self.block2, self.block3, self.block4)
        return tuple(cast(nn.BatchNorm2d, block[-1]) for block in blocks)

    def steps(self) -> tuple[Step, ...]:
        return (
            ("stem", lambda x: F.relu(self.block0(x))),
            (_before("stage1"), lambda x: self.block1(F.max_pool2d(x, 2))),
            ("stage1", F.relu),
            (_before("stage2"), lambda x: self.block2(F.max_pool2d(x, 2))),
            ("stage2", F.relu),
            (_before("stage3"), lambda x: self.block3(F.max_pool2d(x, 2))),
            ("stage3", F.relu),
            (_before("stage4"), lambda x: self.block4(F.max_pool2d(x, 2) if x.shape[2] == _POOLED_HEIGHT else x)),
            ("stage4", F.relu),
            ("pooled", global_mean),
            (LOGITS, self.classifier),
        )


def _before(stage: str) -> str:
    return stage + PREACTIVATION


def _block(layers: int, inputs: int, width: int) -> nn.Sequential:
    """Convolutions and batch norms with ReLUs between them, but not behind the last."""
    parts: list[nn.Module] = []
    for number in range(layers):
        if number > 0:
            parts.append(nn.ReLU(inplace=True))
        parts.append(nn.Conv2d(inputs if number == 0 else width, width, kernel_size=3, padding=1))
        parts.append(nn.BatchNorm2d(width))
    return nn.Sequential(*parts)
