"""One step of training: losses, gradients, update; in the precision that is asked for, compiled or not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from smskd.engine.clock import COMPILED, Clock
from smskd.engine.objective import Losses, Objective
from smskd.types import Batch

Precision = Literal["fp32", "bf16", "fp16"]
Compile = Literal["auto", "on", "off"]

BACKEND = "inductor"
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Numerics:
    """How a step is computed.

    Attributes:
        precision: ``fp32``; ``bf16`` or ``fp16``: mixed, the weights stay float32 and losses are computed in float32.
        compile: ``on``: the objective is compiled (a minute or so at the start of each stage); ``off``; ``auto``: on
            a CPU, teacher and reference are, in stages long enough (see :mod:`smskd.engine.compilation`).
    """

    precision: Precision = "fp32"
    compile: Compile = "auto"

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context in which models run."""
        return torch.autocast(device.type, _TYPES[self.precision], enabled=self.precision != "fp32")


class Step:
    """A step of a stage.

    Args:
        objective: whose stage has begun.
        optimizer: of its trainable parameters.
        numerics: how it is computed.

    Its ``clock`` times the steps whose batches come through it.
    """

    def __init__(self, objective: Objective, optimizer: torch.optim.Optimizer, numerics: Numerics) -> None:
        self.objective = objective
        self.optimizer = optimizer
        self.numerics = numerics
        self.device = next(objective.student.parameters()).device
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=numerics.precision == "fp16")
        self._losses: Callable[[Batch], Losses] = objective
        if numerics.compile == "on":
            self._losses = torch.compile(objective, backend=BACKEND)
            self.clock, self._objective_part = Clock(self.device, COMPILED), "forward"
        else:
            self.clock, self._objective_part = Clock(self.device), "losses"
            objective.clock = self.clock

    def __call__(self, batch: Batch) -> Losses:
        """Trains on a batch."""
        part = self.clock.part
        with part(self._objective_part), self.numerics.autocast(self.device):
            losses = self._losses(batch)
        with part("optimizer"):
            self.optimizer.zero_grad(set_to_none=True)
        with part("backward"):
            self.scaler.scale(losses.total).backward()  # type: ignore[no-untyped-call]
        with part("optimizer"):
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return losses

    def state(self) -> dict[str, Any]:
        """What the scaling of float16 gradients has come to, as JSON has it; empty in other precisions."""
        return self.scaler.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Puts back what :meth:`state` gave."""
        if state:
            self.scaler.load_state_dict(state)
