"""What a finished run says of itself."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from smskd.interfaces.features import FeatureModel
from smskd.models import macs, parameters
from smskd.models.inspect import latency
from smskd.training.accuracy import Accuracy, evaluate
from smskd.training.config import RunConfig
from smskd.training.state import Counters, TrainingState

SUMMARY_FORMAT = 1


def summary(setup: RunConfig, trainee: TrainingState, ledger: Counters, carried: Accuracy) -> dict[str, Any]:
    """The summary; ``carried`` is the accuracy of the result."""
    return {
        "format": SUMMARY_FORMAT,
        "name": setup.name,
        "seed": setup.pace.seed,
        "seconds": round(ledger.seconds, 1),
        "epochs": ledger.epoch,
        "data": setup.pictures,
        "student": {
            **_cost(setup.student_name, trainee.student, setup.example),
            "top1_last": ledger.top1,
            "top1_best": ledger.best_top1,
            "top5_last": ledger.top5,
            "top1": carried.top1,
            "top5": carried.top5,
        },
        "teacher": _teacher(setup, trainee),
        "stages": ledger.stages,
    }


def _teacher(setup: RunConfig, trainee: TrainingState) -> dict[str, Any] | None:
    frozen = trainee.objective.teacher
    if frozen is None or setup.teacher_name is None:
        return None
    accuracy = evaluate(frozen, setup.test.epoch(0), classes=setup.data.classes)
    cost = _cost(setup.teacher_name, frozen.model, setup.example)
    return {**cost, "top1_last": accuracy.top1, "top5_last": accuracy.top5}


def _cost(name: str, model: FeatureModel, example: Tensor) -> dict[str, Any]:
    _, channels, height, width = example.shape
    shape = (int(channels), int(height), int(width))
    return {
        "model": name,
        "parameters": parameters(model.wrapped),
        "macs": macs(model.wrapped, shape),
        "latency_milliseconds": latency(_channels_last(model), example),
    }


def _channels_last(model: nn.Module) -> nn.Module:
    """A copy in the format in which networks run here: teacher and student are timed alike."""
    return copy.deepcopy(model).to(memory_format=torch.channels_last)
