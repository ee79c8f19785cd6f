"""A training step: forward pass, losses, backward pass, update; eager, or captured in a CUDA graph."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from smskd.config.runtime import ComputeConfig
from smskd.data.loaders.batching import BatchGroup, split
from smskd.distributed.gradients import GradientSum
from smskd.distributed.processes import ALONE, Processes
from smskd.interfaces.batch import Batch, FrozenOutputs
from smskd.interfaces.objective import Losses, Objective
from smskd.objective.frozen_outputs import precompute
from smskd.timing import REPLAYED, Clock
from smskd.training.cuda_graphs import CudaGraph, GraphedStep, Phase, Train
from smskd.training.pieces import joined, pieces
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
        processes: that take each step together.
        accumulate: number of pieces of a batch that are run one after another.
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
        processes: Processes = ALONE,
        accumulate: int = 1,
    ) -> None:
        self.objective = objective
        self.optimizer = optimizer
        self.compute = compute
        self.clock = clock
        self.device = device
        self.scaler = torch.amp.GradScaler(device.type, enabled=compute.precision == "fp16")
        self.processes = processes
        self.accumulate = accumulate
        self.captures = device.type == "cuda" and compute.compile != "off" and processes.alone and accumulate == 1
        """Whether steps are to be captured and replayed."""
        self._graph = CudaGraph(lambda: generators_of(objective))
        self._graphed: GraphedStep | None = None
        trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self._sum = GradientSum(trained, processes)
        self._skipping = SkippingUpdate(objective, optimizer, self.scaler, processes) if skips else None
        self.skipped: Tensor | None = None
        """Whether the last step was skipped, a bool scalar on the device; None where steps are not skipped."""

    def __call__(self, batch: Batch) -> Losses:
        """Trains on a batch."""
        if batch.outputs is None:
            batch = replace(batch, outputs=self.frozen_forward(batch))
        part = self.clock.part
        if self._skipping is not None:
            self._skipping.begin()
        if self.processes.alone and self.accumulate == 1:
            losses = self._losses(batch)
            with part("optimizer"):
                self.optimizer.zero_grad(set_to_none=True)
            with part("backward"):
                self.scaler.scale(losses.total).backward()  # type: ignore[no-untyped-call]
        else:
            losses = self._accumulated(batch)
        with part("optimizer"):
            if self._skipping is not None:
                self.skipped = self._skipping.step(losses.total.detach())
            else:
                self.scaler.step(self.optimizer)
            self.scaler.update()
        return losses

    def _losses(self, batch: Batch) -> Losses:
        with self.clock.part("losses"), self.compute.autocast(self.device):
            losses: Losses = self.objective(batch)
        return losses

    def _accumulated(self, batch: Batch) -> Losses:
        """The losses of the rows of this process, after the gradients of all pieces of all processes are summed."""
        self.optimizer.zero_grad(set_to_none=True)
        found, weights = [], []
        for piece, weight in pieces(batch, self.accumulate):
            losses = self._losses(piece)
            with self.clock.part("backward"):
                self.scaler.scale(losses.total * weight).backward()  # type: ignore[no-untyped-call]
            found.append(losses)
            weights.append(weight)
        with self.clock.part("backward"):
            self._sum()
        return joined(found, weights)

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
                yield group.batch if group.parts is None else replace(group.batch, part=group.parts[0])
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
        wanted = self.device.type == "cuda" and self.compute.compile != "off"
        if wanted and not self.captures:
            reason = "with several processes" if not self.processes.alone else "with training.accumulate"
            return (f"Steps are not captured as CUDA graphs {reason}.",)
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
