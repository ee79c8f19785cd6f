"""Stages of blocks that leave their last ReLU to the caller, who thus has the feature before it too."""

from collections.abc import Iterable, Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from smskd.types import PREACTIVATION


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
