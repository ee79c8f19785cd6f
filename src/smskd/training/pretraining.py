"""The phase before a stage in which a method's modules are initialised (FT, AB, FSP)."""

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from smskd.config.optimization import OptimizerConfig
from smskd.config.runtime import RuntimeConfig
from smskd.data import Loader, mix
from smskd.distributed.gradients import GradientSum
from smskd.errors import UserError
from smskd.interfaces.batch import Progress
from smskd.interfaces.objective import Objective, ParameterGroup, PretrainingPhase
from smskd.training.not_finite import cause_in_inputs
from smskd.training.optimizer import build_optimizer, set_learning_rate
from smskd.training.pieces import counted
from smskd.training.reports import Track, untracked
from smskd.training.rng import seed_processes
from smskd.training.shared_batches import SharedBatches
from smskd.turns import steps

_PRETRAIN = 0x50524550
"""Sets the draws of these epochs apart from those of the stages."""


@dataclass(frozen=True)
class PretrainingReport:
    """An epoch of a phase before a stage; a line of ``pretraining.jsonl``.

    Attributes:
        stage: that follows. method: whose modules are initialised.
        epoch: of the phase, counted from 1. epochs: of the whole phase.
        losses: the mean of each part over the epoch's samples, and their ``total``.
    """

    stage: int
    method: str
    epoch: int
    epochs: int
    learning_rate: float
    losses: dict[str, float]
    seconds: float

    def __str__(self) -> str:
        losses = "  ".join(f"{name} {value:.4f}" for name, value in self.losses.items())
        return f"pretraining {self.method}  epoch {self.epoch} of {self.epochs}  lr {self.learning_rate:.3g}  {losses}"

    def as_dict(self) -> dict[str, Any]:
        """The values as JSON has them."""
        return asdict(self)


class PhaseTrainer:
    """Trains one phase of a stage; everything can be saved between two epochs.

    Args:
        objective: of the stage.
        phase: one of its.
        place: of the phase among them.
        optimizer: settings of the optimizer.
        runtime: of the run. In float16 these phases run in bfloat16, since they do not scale gradients.
        stage: number of the stage, from 1.
        batches: of the run.
    """

    def __init__(
        self,
        objective: Objective,
        phase: PretrainingPhase,
        place: int,
        optimizer: OptimizerConfig,
        runtime: RuntimeConfig,
        stage: int,
        batches: SharedBatches,
    ) -> None:
        self.phase = phase
        self.place = place
        self.stage = stage
        self._objective = objective
        self._config = optimizer
        self._seed = runtime.seed
        self._compute = RuntimeConfig("bf16") if runtime.precision == "fp16" else runtime
        self._trained = tuple(parameter for module in phase.modules for parameter in module.parameters())
        self._flags = [parameter.requires_grad for parameter in self._trained]
        self.optimizer = build_optimizer(optimizer, [ParameterGroup(self._trained)]) if self._trained else None
        self._batches = batches
        self._processes = batches.processes
        self._sum = GradientSum(self._trained, batches.processes)

    @property
    def epochs(self) -> int:
        """Length of the phase."""
        return self.phase.pretraining.epochs

    def train(self, loader: Loader, first: int, track: Track = untracked) -> Iterator[PretrainingReport]:
        """Trains the epochs from ``first`` on, and yields a report after each."""
        rate = self.phase.pretraining.learning_rate or self._config.learning_rate
        if self.optimizer is not None:
            set_learning_rate(self.optimizer, rate)
        for epoch in range(first, self.epochs + 1):
            started = time.perf_counter()
            losses = self._epoch(loader, epoch, track)
            seconds = round(time.perf_counter() - started, 3)
            yield PretrainingReport(self.stage, self.phase.name, epoch, self.epochs, rate, losses, seconds)

    def _epoch(self, loader: Loader, epoch: int, track: Track) -> dict[str, float]:
        key = mix(_PRETRAIN, self.stage, self.place, epoch)
        seed_processes(mix(self._seed, key), self._objective.predictor, self._processes)
        loader = self._batches.of(loader, divides=self._objective.divides_batches)
        batches = loader.epoch(key, Progress(epoch, self.epochs), self._objective.views)
        sums: dict[str, Tensor] = {}
        samples = 0
        self._open()
        try:
            with steps() as turn:
                for batch in track(batches, len(loader), f"pretraining {self.phase.name}, epoch {epoch}"):
                    with self._compute.autocast(batch.y.device):
                        parts = self.phase.loss(batch)
                    share = 1.0 if batch.part is None else batch.part.share
                    self._step(torch.stack(list(parts.values())).sum() * share)
                    samples += counted(batch)
                    for name, loss in parts.items():
                        sums[name] = sums.get(name, torch.zeros_like(loss)) + loss.detach() * counted(batch)
                    turn.step_done()
        finally:
            self._close()
        samples = sum(self._processes.all_of(samples))
        sums = {name: self._processes.add(value) for name, value in sums.items()}
        means = {name: float(value) / samples for name, value in sums.items()}
        broken = [name for name, value in means.items() if not math.isfinite(value)]
        if broken:
            own = cause_in_inputs(loader.groups(key, Progress(epoch, self.epochs), self._objective.views))
            cause = next(filter(None, self._processes.all_of(own)), None)
            raise UserError(
                f"the loss is no longer finite before stage {self.stage}, in the pretraining of {self.phase.name} "
                f"({', '.join(broken)}): {cause or 'lower optimizer.learning_rate'}"
            )
        return {"total": sum(means.values()), **means}

    def _step(self, total: Tensor) -> None:
        if self.optimizer is None:
            return
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        self._sum()
        self.optimizer.step()

    def _open(self) -> None:
        """Only the trained modules are in train mode, as published; everything else is in eval mode."""
        self._objective.eval()
        for module in self.phase.modules:
            module.train()
        for parameter in self._trained:
            parameter.requires_grad_(True)

    def _close(self) -> None:
        for parameter, flag in zip(self._trained, self._flags, strict=True):
            parameter.requires_grad_(flag)
            parameter.grad = None
