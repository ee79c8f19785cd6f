"""Stages of blocks that leave their last ReLU to the caller, who thus has the feature before it too."""

from collections.abc import Iterable, Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from smskd.interfaces.features import PREACTIVATION


class Stage(nn.Sequential):
    """Blocks in a row. Each block gives its output before the activation; so does the stage."""

    def forward(self, x: Tensor) -> Tensor:
        for number, block in enumerate(self):
            x = block(x if number == 0 else self.activate(x, inplace=True))
        return x

    def activate(self, x: Tensor, inplace: bool = False) -> Tensor:
        """What follows each block; it may overwrite what nobody else reads."""
        return F.relu(x, inplace=inplace)


def walk_stages(x: Tensor, stages: Iterable[Stage]) -> Iterator[tuple[str, Tensor]]:
    """Yield ``stage1.preact``, ``stage1``, ``stage2.preact``, ..., last the last stage's output."""
    for number, stage in enumerate(stages, start=1):
        before: Tensor = stage(x)
        yield f"stage{number}{PREACTIVATION}", before
        x = stage.activate(before)
        yield f"stage{number}", x


def shuffle_channels(x: Tensor, groups: int) -> Tensor:
    """Deal the channels [N, C, H, W] out: the first of each group, then the second of each, and so on."""
    if groups == 1:
        return x
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def init_convolutions(model: nn.Module) -> None:
    """He et al.'s normal distribution: deviation sqrt(2 / (kernel height * width * output channels)).

    Biases start at zero. Batch norms already start as the identity.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def init_small_linear(layer: nn.Linear) -> None:
    """A normal distribution of deviation 0.01 and no bias."""
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
