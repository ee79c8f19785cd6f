"""Stages of blocks whose last ReLU is a step of its own, so that the feature before it can be read."""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from smskd.interfaces.features import PREACTIVATION
from smskd.models.zoo.base import Step


class Stage(nn.Sequential):
    """Consecutive blocks. The output of each block, and of the stage, is that before the activation."""

    def forward(self, x: Tensor) -> Tensor:
        for number, block in enumerate(self):
            x = block(x if number == 0 else self.activate(x, inplace=True))
        return x

    def activate(self, x: Tensor, inplace: bool = False) -> Tensor:
        """The activation behind each block.

        Args:
            x: the output of a block.
            inplace: whether ``x`` may be overwritten.
        """
        return F.relu(x, inplace=inplace)


def stage_steps(*stages: Stage) -> Iterator[Step]:
    """Yields the steps ``stage1.preact``, ``stage1``, ``stage2.preact`` and so on, to the last stage's output."""
    for number, stage in enumerate(stages, start=1):
        yield f"stage{number}{PREACTIVATION}", stage
        yield f"stage{number}", stage.activate


def global_mean(x: Tensor) -> Tensor:
    """Mean over the image: [N, channels] of a map [N, channels, height, width]."""
    return x.mean(dim=(2, 3))


def shuffle_channels(x: Tensor, groups: int) -> Tensor:
    """Reorders the channels of [N, C, H, W]: the first of each group, then the second of each, and so on."""
    if groups == 1:
        return x
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def init_convolutions(model: nn.Module) -> None:
    """Initialises convolutions from He et al.'s normal distribution (2015, arXiv 1502.01852), by fan-out.

    The standard deviation is sqrt(2 / (kernel height * kernel width * output channels)). Biases are set to zero. Batch
    norms are left as PyTorch initialises them: as the identity.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def init_small_linear(layer: nn.Linear) -> None:
    """Initialises the weight from a normal distribution of standard deviation 0.01, the bias with zeros."""
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
