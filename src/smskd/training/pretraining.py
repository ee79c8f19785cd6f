"""The phase before a stage in which a method's modules are initialised (FT, AB, FSP)."""

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from smskd.config.pace import Pace
from smskd.config.runtime import ComputeConfig
from smskd.data import Loader, mix
from smskd.interfaces.batch import Progress
from smskd.interfaces.terms import Pretraining
from smskd.objective.weighted_sum import Objective
from smskd.training.epoch import Track, check_finite, untracked
from smskd.training.optimizer import build_optimizer, set_learning_rate

_PREPARE = 0x50524550
"""Sets the draws of these epochs apart from those of the stages."""


@dataclass(frozen=True)
class PretrainingReport:
    """What happened in an epoch of a phase before a stage; the line of ``preparation.jsonl``.

    Attributes:
        stage: that it comes before. method: whose modules it initialises.
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
        return f"preparing {self.method}  epoch {self.epoch} of {self.epochs}  lr {self.learning_rate:.3g}  {losses}"

    def as_dict(self) -> dict[str, Any]:
        """The values as JSON has them."""
        return asdict(self)


class Phase:
    """The phase of one method of a stage, between two epochs of which everything can be saved.

    Args:
        objective: whose stage has begun.
        place: of the method in the stage.
        preparation: what it asks for.
        pace: the run's.
        numerics: how a step is computed; float16 is not used in these phases, which do not scale gradients.
        number: of the stage, from 1.
    """

    def __init__(
        self,
        objective: Objective,
        place: int,
        pretraining: Pretraining,
        pace: Pace,
        compute: ComputeConfig,
        number: int,
    ) -> None:
        self.objective = objective
        self.place = place
        self.pretraining = pretraining
        self.pace = pace
        self.compute = ComputeConfig("bf16") if compute.precision == "fp16" else compute
        self.number = number
        item = objective.methods[place]
        self.name = item.name
        self.module = item.method.pretrained(objective.states[place])
        trained = [self.module, objective.student] if pretraining.trains_student else [self.module]
        self._wanted = [parameter for module in trained for parameter in module.parameters()]
        self._flags = [parameter.requires_grad for parameter in self._wanted]
        self.optimizer = build_optimizer(pace.optimizer, self._wanted) if self._wanted else None

    def epochs(self, train: Loader, first: int, track: Track = untracked) -> Iterator[PretrainingReport]:
        """Trains the epochs from ``first`` on, and yields a report after each."""
        rate = self.pretraining.learning_rate or self.pace.optimizer.learning_rate
        if self.optimizer is not None:
            set_learning_rate(self.optimizer, rate)
        for epoch in range(first, self.pretraining.epochs + 1):
            started = time.perf_counter()
            losses = self._epoch(train, epoch, track)
            seconds = round(time.perf_counter() - started, 3)
            yield PretrainingReport(self.number, self.name, epoch, self.pretraining.epochs, rate, losses, seconds)

    def _epoch(self, train: Loader, epoch: int, track: Track) -> dict[str, float]:
        key = mix(_PREPARE, self.number, self.place, epoch)
        torch.manual_seed(mix(self.pace.seed, key))
        batches = train.epoch(key, Progress(epoch, self.pretraining.epochs), self.objective.views)
        sums: dict[str, Tensor] = {}
        samples = 0
        self._open()
        try:
            for batch in track(batches, len(train), f"preparing {self.name}, epoch {epoch}"):
                with self.compute.autocast(batch.x.device):
                    parts = self.objective.prepare(self.place, batch, trains_student=self.pretraining.trains_student)
                self._step(torch.stack(list(parts.values())).sum())
                samples += len(batch.y)
                for name, loss in parts.items():
                    sums[name] = sums.get(name, torch.zeros_like(loss)) + loss.detach() * len(batch.y)
        finally:
            self._close()
        means = {name: float(value) / samples for name, value in sums.items()}
        broken = [name for name, value in means.items() if not math.isfinite(value)]
        check_finite(means, broken, f"before stage {self.number}, while {self.name} is prepared")
        return {"total": sum(means.values()), **means}

    def _step(self, total: Tensor) -> None:
        if self.optimizer is None:
            return
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def _open(self) -> None:
        """Only what is trained is in train mode, as published; the rest of the student stays as it is."""
        self.objective.eval()
        trained: list[nn.Module] = [self.module]
        if self.pretraining.trains_student:
            trained.append(self.objective.student)
        for module in trained:
            module.train()
        for parameter in self._wanted:
            parameter.requires_grad_(True)

    def _close(self) -> None:
        for parameter, flag in zip(self._wanted, self._flags, strict=True):
            parameter.requires_grad_(flag)
            parameter.grad = None
