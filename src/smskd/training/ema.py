"""The exponential moving average of a student over a stage."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """Weights and batch-norm statistics, averaged over the steps of a stage.

    The decay rises to its value over the first steps, min(decay, (1 + n) / (10 + n)), so that the average forgets
    where the stage began. Whole numbers (counters) are taken as they are.

    Args:
        module: whose weights to average; the average starts as a copy of them.
        decay: of the average, a step.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.tensors = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Takes the module's weights in, after a step."""
        self.steps += 1
        fraction = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        now = module.state_dict()
        floats = [name for name, tensor in self.tensors.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([self.tensors[n] for n in floats], [now[n].detach() for n in floats], fraction)
        for name, tensor in self.tensors.items():
            if not tensor.is_floating_point():
                tensor.copy_(now[name])

    def load(self, tensors: Mapping[str, Tensor], steps: int) -> None:
        """Puts back an average that was saved."""
        self.steps = steps
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
