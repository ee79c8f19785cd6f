"""One step of training: losses, gradients, update; in the precision that is asked for, compiled or not."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from smskd.data.together import batches_together
from smskd.engine.ahead import looking_ahead
from smskd.engine.clock import REPLAYED, Clock
from smskd.engine.objective import Losses, Objective
from smskd.engine.recorded import CudaRecorder, Doing, Recorded, Train
from smskd.types import Batch, FrozenOutputs

Precision = Literal["fp32", "bf16", "fp16"]
Compile = Literal["auto", "on", "off"]

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Numerics:
    """How a step is computed.

    Attributes:
        precision: ``fp32``; ``bf16`` or ``fp16``: mixed, the weights stay float32 and losses are computed in float32.
        compile: ``on``: the student is compiled, and on a CPU in float32 teacher and reference (half a minute or so at
            the start of each stage); ``off``; ``auto``: likewise on a CPU in float32, in stages long enough (see
            :mod:`smskd.engine.compilation`). On a GPU, unless it is ``off``, steps are replayed as CUDA graphs.
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
        self.ahead = batches_together(self.device, objective.data.batch_size, objective.example.shape[1:])
        """How many batches the frozen networks look at together."""
        self.records = self.device.type == "cuda" and numerics.compile != "off"
        """Whether steps are to be recorded and replayed."""
        self._recorder = CudaRecorder(objective.generators)
        self._recorded: Recorded | None = None
        self.clock = Clock(self.device)
        objective.clock = self.clock

    def __call__(self, batch: Batch) -> Losses:
        """Trains on a batch."""
        if batch.outputs is None:
            batch = replace(batch, outputs=self.look(batch))
        part = self.clock.part
        with part("losses"), self.numerics.autocast(self.device):
            losses: Losses = self.objective(batch)
        with part("optimizer"):
            self.optimizer.zero_grad(set_to_none=True)
        with part("backward"):
            self.scaler.scale(losses.total).backward()  # type: ignore[no-untyped-call]
        with part("optimizer"):
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return losses

    def looking_ahead(self, batches: Iterable[Batch]) -> Iterable[Batch]:
        """The batches; where the frozen networks look ahead or steps are recorded, with what the former say of them."""
        if self.ahead == 1 and not self.records:
            return batches
        return looking_ahead(batches, self.ahead, self.look)

    def recorded(self, train: Train, *, timed: bool) -> Train:
        """What trains on a batch, recorded if need be.

        Args:
            train: calls this step, for the batches of an epoch.
            timed: whether the clock is to know of the parts of what is replayed.
        """
        if not self.replays:
            return train

        def watch(doing: Doing) -> AbstractContextManager[None]:
            return self.clock.part(REPLAYED) if doing == "replay" else self.clock.recording(timed)

        self._recorded = Recorded(train, self._recorder, watch)
        return self._recorded

    @property
    def replays(self) -> bool:
        """Whether steps are recorded and replayed, as far as was seen."""
        return self.records and (self._recorded is None or self._recorded.works)

    def look(self, batch: Batch) -> FrozenOutputs:
        """What the frozen networks say of a batch."""
        with self.numerics.autocast(self.device):
            return self.objective.look(batch, self.clock)

    def state(self) -> dict[str, Any]:
        """What the scaling of float16 gradients has come to, as JSON has it; empty in other precisions."""
        return self.scaler.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Puts back what :meth:`state` gave."""
        if state:
            self.scaler.load_state_dict(state)
