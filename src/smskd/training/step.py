"""One step of training: losses, gradients, update; in the precision that is asked for, compiled or not."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch

from smskd.config.runtime import ComputeConfig
from smskd.data.loaders.batching import coalesced_batches
from smskd.interfaces.batch import Batch, FrozenOutputs
from smskd.objective.frozen_outputs import precompute
from smskd.objective.weighted_sum import Losses, Objective
from smskd.timing import REPLAYED, Clock
from smskd.training.cuda_graphs import CudaGraphCapture, Doing, GraphedStep, Train


class Step:
    """A step of a stage.

    Args:
        objective: whose stage has begun.
        optimizer: of its trainable parameters.
        numerics: how it is computed.

    Its ``clock`` times the steps whose batches come through it.
    """

    def __init__(self, objective: Objective, optimizer: torch.optim.Optimizer, compute: ComputeConfig) -> None:
        self.objective = objective
        self.optimizer = optimizer
        self.compute = compute
        self.device = next(objective.student.parameters()).device
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=compute.precision == "fp16")
        self.ahead = coalesced_batches(self.device, objective.data.batch_size, objective.example.shape[1:])
        """How many batches the frozen networks look at together."""
        self.records = self.device.type == "cuda" and compute.compile != "off"
        """Whether steps are to be recorded and replayed."""
        self._recorder = CudaGraphCapture(objective.generators)
        self._recorded: GraphedStep | None = None
        self.clock = Clock(self.device)
        objective.clock = self.clock

    def __call__(self, batch: Batch) -> Losses:
        """Trains on a batch."""
        if batch.outputs is None:
            batch = replace(batch, outputs=self.frozen_forward(batch))
        part = self.clock.part
        with part("losses"), self.compute.autocast(self.device):
            losses: Losses = self.objective(batch)
        with part("optimizer"):
            self.optimizer.zero_grad(set_to_none=True)
        with part("backward"):
            self.scaler.scale(losses.total).backward()  # type: ignore[no-untyped-call]
        with part("optimizer"):
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return losses

    def precompute(self, batches: Iterable[Batch]) -> Iterable[Batch]:
        """The batches; where the frozen networks look ahead or steps are recorded, with what the former say of them."""
        if self.ahead == 1 and not self.records:
            return batches
        return precompute(batches, self.ahead, self.frozen_forward)

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

        self._recorded = GraphedStep(train, self._recorder, watch)
        return self._recorded

    @property
    def replays(self) -> bool:
        """Whether steps are recorded and replayed, as far as was seen."""
        return self.records and (self._recorded is None or self._recorded.works)

    def frozen_forward(self, batch: Batch) -> FrozenOutputs:
        """What the frozen networks say of a batch."""
        with self.compute.autocast(self.device):
            return self.objective.frozen_forward(batch, self.clock)

    def state(self) -> dict[str, Any]:
        """What the scaling of float16 gradients has come to, as JSON has it; empty in other precisions."""
        return self.scaler.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Puts back what :meth:`state` gave."""
        if state:
            self.scaler.load_state_dict(state)
