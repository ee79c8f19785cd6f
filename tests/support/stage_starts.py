"""The state of training when the first epoch of each stage begins."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from smskd.objective.weighted_sum import WeightedSum
from smskd.training import run as run_module
from smskd.training.step import Step
from tests.support import tiny

Weights = dict[str, Tensor]


@dataclass
class StageStart:
    """When a stage's first epoch begins.

    Attributes:
        student: its weights and buffers.
        reference: likewise; None where no anchor reads it.
        teacher: likewise; None where there is none.
        momentum: by parameter of the objective, where it is not zero; zero momentum is the same as none.
        trained: names of the parameters that the optimizer has.
        optimizer: its class.
        batch_size: of the stage's loader.
    """

    student: Weights
    reference: Weights | None
    teacher: Weights | None
    momentum: dict[str, Tensor]
    trained: set[str]
    optimizer: type[torch.optim.Optimizer]
    batch_size: int


def watch_stage_starts(monkeypatch: pytest.MonkeyPatch) -> list[StageStart]:
    """A list that grows with each stage that begins or goes on."""
    found: list[StageStart] = []
    train_epochs = run_module.train_epochs

    def watched(step: Step, config: Any, stage: int, *rest: Any, **options: Any) -> Any:
        found.append(_start(step, config.loaders[stage].info.batch_size))
        return train_epochs(step, config, stage, *rest, **options)

    monkeypatch.setattr(run_module, "train_epochs", watched)
    return found


def _start(step: Step, batch_size: int) -> StageStart:
    objective, optimizer = step.objective, step.optimizer
    assert isinstance(objective, WeightedSum)
    names = {parameter: name for name, parameter in objective.named_parameters()}
    buffers = {names[parameter]: values.get("momentum_buffer") for parameter, values in optimizer.state.items()}
    teacher, reference = objective.parts.teacher, objective.parts.reference
    return StageStart(
        student=tiny.bits(objective.student),
        reference=None if reference is None else tiny.bits(reference.model),
        teacher=None if teacher is None else tiny.bits(teacher.model),
        momentum={name: value.clone() for name, value in buffers.items() if value is not None and value.any()},
        trained={names[parameter] for group in optimizer.param_groups for parameter in group["params"]},
        optimizer=type(optimizer),
        batch_size=batch_size,
    )
