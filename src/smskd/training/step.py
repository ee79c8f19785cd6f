"""A training step: forward pass, losses, backward pass, update; eager, or captured in a CUDA graph."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from smskd.config.runtime import ComputeConfig
from smskd.data.loaders.batching import BatchGroup, split
from smskd.interfaces.batch import Batch, FrozenOutputs
from smskd.interfaces.objective import Losses, Objective
from smskd.objective.frozen_outputs import precompute
from smskd.timing import REPLAYED, Clock
from smskd.training.cuda_graphs import CudaGraph, GraphedStep, Phase, Train
from smskd.training.rng import generators_of
from smskd.training.skipping import SkippingUpdate


class Step:
    """A step of a stage.

    Args:
        objective: of the stage.
        optimizer: of its parameter groups.
        compute: how it is computed.
        clock: times the parts of steps.
        device: of training.
        skips: whether steps whose loss or gradients are not finite are skipped.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        compute: ComputeConfig,
        clock: Clock,
        device: torch.device,
        *,
        skips: bool = False,
    ) -> None:
        self.objective = objective
        self.optimizer = optimizer
        self.compute = compute
        self.clock = clock
        self.device = device
        self.scaler = torch.amp.GradScaler(device.type, enabled=compute.precision == "fp16")
        self.captures = device.type == "cuda" and compute.compile != "off"
        """Whether steps are to be captured and replayed."""
        self._graph = CudaGraph(lambda: generators_of(objective))
        self._graphed: GraphedStep | None = None
        self._skipping = SkippingUpdate(objective, optimizer, self.scaler) if skips else None
        self.skipped: Tensor | None = None
        """Whether the last step was skipped, a bool scalar on the device; None where steps are not skipped."""

    def __call__(self, batch: Batch) -> Losses:
        """Trains on a batch."""
        if batch.outputs is None:
            batch = replace(batch, outputs=self.frozen_forward(batch))
        part = self.clock.part
        if self._skipping is not None:
            self._skipping.begin()
        with part("losses"), self.compute.autocast(self.device):
            losses: Losses = self.objective(batch)
        with part("optimizer"):
            self.optimizer.zero_grad(set_to_none=True)
        with part("backward"):
            self.scaler.scale(losses.total).backward()  # type: ignore[no-untyped-call]
        with part("optimizer"):
            if self._skipping is not None:
                self.skipped = self._skipping.step(losses.total.detach())
            else:
                self.scaler.step(self.optimizer)
            self.scaler.update()
        return losses

    def frozen_forward(self, batch: Batch) -> FrozenOutputs:
        """The outputs of the frozen networks for a batch."""
        with self.compute.autocast(self.device):
            return self.objective.precompute(batch)

    def batches(self, groups: Iterable[BatchGroup]) -> Iterable[Batch]:
        """The batches of an epoch. Those of a group have the outputs of the frozen networks, computed once for all of
        them, where the networks see each image by itself; a step that is captured must have them too. A single batch
        keeps its keys, by which the step finds the teacher's outputs in their cache."""
        for group in groups:
            if self.objective.sees_images_alone and (self.captures or len(group.sizes) > 1):
                yield from precompute([group], self.frozen_forward)
            elif len(group.sizes) == 1 and not self.captures:
                yield group.batch
            elif self.captures:
                for batch in split(group):
                    yield replace(batch, outputs=self.frozen_forward(batch), keys=None)
            else:
                yield from split(group)

    def graphed(self, train: Train, *, timed: bool) -> Train:
        """A function that trains on the batches of an epoch, captured where that is wanted and possible.

        Args:
            train: calls this step, for a batch.
            timed: whether the clock times the parts of a replay.
        """
        if not self.replays:
            return train

        def watch(phase: Phase) -> AbstractContextManager[None]:
            return self.clock.part(REPLAYED) if phase == "replay" else self.clock.capturing(timed)

        self._graphed = GraphedStep(train, self._graph, watch)
        return self._graphed

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on why steps are not captured, where that was tried."""
        refusal = None if self._graphed is None else self._graphed.refusal
        return () if refusal is None else (f"Steps are not captured as CUDA graphs: {refusal}",)

    @property
    def replays(self) -> bool:
        """Whether steps are captured and replayed, as far as has been tried."""
        return self.captures and (self._graphed is None or self._graphed.works)

    def state_dict(self) -> dict[str, Any]:
        """The scale of float16 gradients, as JSON has it; empty in other precisions."""
        return self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts back the result of :meth:`state_dict`."""
        if state:
            self.scaler.load_state_dict(state)
