"""VGG networks with batch norm for small pictures (Simonyan and Zisserman 2015, arXiv 1409.1556)."""

from collections.abc import Iterator
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from smskd.interfaces.features import PREACTIVATION
from smskd.models.zoo.base import ZooModel
from smskd.models.zoo.blocks import init_convolutions, init_small_linear

_WIDTHS = (64, 128, 256, 512, 512)


class VGG(ZooModel):
    """Five blocks of 3x3 convolutions, as RepDistiller builds them; features are read before the pooling.

    The first block is the stem. The first three are followed by 2x2 max pooling, the fourth only where the
    picture is 64 high (as in RepDistiller), the fifth by the global average; one linear layer classifies.

    Args:
        layers: number of convolutions of each block.
        classes: number of classes.
        channels: channels of the pictures.
    """

    stage_count = 4

    def __init__(self, layers: tuple[int, int, int, int, int], classes: int = 100, channels: int = 3) -> None:
        super().__init__()
        self.block0 = _block(layers[0], channels, _WIDTHS[0])
        self.block1 = _block(layers[1], _WIDTHS[0], _WIDTHS[1])
        self.block2 = _block(layers[2], _WIDTHS[1], _WIDTHS[2])
        self.block3 = _block(layers[3], _WIDTHS[2], _WIDTHS[3])
        self.block4 = _block(layers[4], _WIDTHS[3], _WIDTHS[4])
        # The checkpoints call the linear layer as the property below is called, so it is entered by hand.
        self._modules["classifier"] = nn.Linear(_WIDTHS[4], classes)
        init_convolutions(self)
        init_small_linear(self.classifier)

    @property
    def classifier(self) -> nn.Linear:
        return cast(nn.Linear, self._modules["classifier"])

    @property
    def stage_norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The last layer of each block but the first, which is the stem."""
        blocks = (self.block1, self.block2, self.block3, self.block4)
        return tuple(cast(nn.BatchNorm2d, block[-1]) for block in blocks)

    def walk(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        large = x.shape[2] == 64
        x = F.relu(self.block0(x))
        yield "stem", x
        for number, block in enumerate((self.block1, self.block2, self.block3, self.block4), start=1):
            before: Tensor = block(F.max_pool2d(x, 2) if number < 4 or large else x)
            yield f"stage{number}{PREACTIVATION}", before
            x = F.relu(before)
            yield f"stage{number}", x
        x = x.mean(dim=(2, 3))
        yield "pooled", x
        yield "logits", self.classifier(x)


def _block(layers: int, inputs: int, width: int) -> nn.Sequential:
    """Convolutions and batch norms with ReLUs between them, but not after the last."""
    parts: list[nn.Module] = []
    for number in range(layers):
        if number > 0:
            parts.append(nn.ReLU(inplace=True))
        parts.append(nn.Conv2d(inputs if number == 0 else width, width, kernel_size=3, padding=1))
        parts.append(nn.BatchNorm2d(width))
    return nn.Sequential(*parts)
