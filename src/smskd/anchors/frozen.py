"""Freezing a model: the only way to make a teacher or a reference."""

import copy
from collections.abc import Collection
from typing import Self

import torch
from torch import Tensor, nn

from smskd.types import FeatureModel


class Frozen(nn.Module):
    """A copy of a model that nothing moves.

    It has its own weights, stays in eval mode whatever a parent's ``train()`` says, gives outputs without
    gradient, and its buffers (batch-norm statistics) never change.

    Args:
        model: what to copy; it is left as it is.
    """

    def __init__(self, model: FeatureModel) -> None:
        super().__init__()
        self.model: FeatureModel = copy.deepcopy(model)
        self.model.requires_grad_(False)
        self.eval()
        self.model.eval()

    def train(self, mode: bool = True) -> Self:
        """Stays in eval mode, whatever is asked for."""
        self.training = False
        return self

    @torch.no_grad()
    def extract(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """The named features of a batch, without gradient; see :meth:`FeatureModel.extract`."""
        self.model.eval()  # a caller may have reached past this module and put its parts in train mode
        return self.model.extract(x, names)

    def forward(self, x: Tensor) -> Tensor:
        """The logits, without gradient."""
        return self.extract(x, ("logits",))["logits"]
