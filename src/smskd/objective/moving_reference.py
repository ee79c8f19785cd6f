"""A reference that moves: the exponential moving average of the student over the steps of a stage."""

from collections.abc import Collection
from typing import Self

import torch
from torch import Tensor, nn

from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureModel, Tap
from smskd.models.copying import copy_of
from smskd.objective.tapped_features import read


class MovingReference(nn.Module):
    """A copy of the student that is never trained, and follows its weights and its batch norm statistics.

    The average after the n-th step of the stage is alpha_n * average + (1 - alpha_n) * student with
    alpha_n = min(1 - 1/(n+1), decay), as published (Tarvainen and Valpola 2017). Whole numbers are taken as they are.
    Everything is in the state dict, and computed on the device.

    Args:
        student: at the start of the stage; it is copied.
        decay: of the average, per step.
    """

    steps: Tensor

    def __init__(self, student: FeatureModel, decay: float) -> None:
        super().__init__()
        self.network = copy_of(student).requires_grad_(False).eval()
        self.decay = decay
        weight = next((tensor for tensor in _tensors(student).values() if tensor.is_floating_point()), torch.zeros(()))
        self.register_buffer("steps", torch.zeros((), dtype=weight.dtype, device=weight.device))

    def train(self, mode: bool = True) -> Self:
        """Does nothing: the average stays in eval mode."""
        self.training = False
        return self

    @torch.no_grad()
    def follow(self, student: nn.Module) -> None:
        """Takes in the student; called before each step, with the student as the step before has left it."""
        own, now = _tensors(self.network), _tensors(student)
        alpha = (1 - 1 / (self.steps + 1)).clamp_max(self.decay)
        floats = [name for name, tensor in own.items() if tensor.is_floating_point()]
        averages = [own[name] for name in floats]
        torch._foreach_mul_(averages, alpha)
        torch._foreach_add_(averages, torch._foreach_mul([now[name] for name in floats], 1 - alpha))
        for name in own.keys() - set(floats):
            own[name].copy_(now[name])
        self.steps += 1

    @torch.no_grad()
    def outputs(self, batch: Batch, taps: Collection[Tap]) -> dict[Tap, Tensor]:
        """What is read of the average for a batch, without gradient."""
        return read(self.network, batch, taps)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in module.state_dict().items() if isinstance(value, Tensor)}
