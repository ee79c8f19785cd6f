"""The summary of a finished run."""

import copy
from typing import Any

import torch
from torch import nn

from smskd.config.given import is_given
from smskd.interfaces.features import FeatureModel
from smskd.models import macs, parameters
from smskd.models.latency import latency
from smskd.runs.file_names import SUMMARY_FORMAT
from smskd.training.accuracy import Accuracy, evaluate
from smskd.training.config import RunConfig
from smskd.training.state import TrainingState


def summary(config: RunConfig, state: TrainingState, carried: Accuracy) -> dict[str, Any]:
    """The summary.

    Args:
        config: of the run.
        state: at its end.
        carried: test accuracy of the resulting student.
    """
    counters = state.counters
    return {
        "format": SUMMARY_FORMAT,
        "name": config.recipe.name,
        "seed": config.recipe.runtime.seed,
        "seconds": round(counters.seconds, 1),
        "epochs": counters.epoch,
        "data": dict(config.data),
        "student": {
            **_cost(_model_name(config.recipe.student.name), state.student, config),
            "top1_last": counters.test_top1,
            "top5_last": counters.test_top5,
            "top1_best": counters.best_test_top1,
            "best_epoch": counters.best_epoch,
            "validation_top1_best": counters.best_validation_top1,
            "top1": carried.top1,
            "top5": carried.top5,
        },
        "teacher": _teacher(config),
        "stages": counters.stages,
        "digest": config.identity.digest,
        "identity": dict(config.identity.facts),
    }


def _teacher(config: RunConfig) -> dict[str, Any] | None:
    """Of the last stage that has one."""
    pairs = zip(config.teachers, config.recipe.stages, strict=True)
    found = [(frozen, stage.teacher) for frozen, stage in pairs if frozen is not None and stage.teacher is not None]
    if not found:
        return None
    frozen, settings = found[-1]
    compute = config.recipe.runtime
    accuracy = evaluate(frozen, config.test.epoch(0), classes=config.classes, compute=compute)
    cost = _cost(_model_name(settings.name), frozen.model, config)
    return {**cost, "top1_last": accuracy.top1, "top5_last": accuracy.top5}


def _model_name(name: str) -> str:
    """The name of a model in a recipe, or the class of one that a program has given."""
    return name[1:-1].rpartition(".")[2] if is_given(name) else name


def _cost(name: str, model: FeatureModel, config: RunConfig) -> dict[str, Any]:
    return {
        "model": name,
        "parameters": parameters(model.wrapped),
        "macs": macs(model.wrapped, config.image_shape),
        "latency_milliseconds": latency(_channels_last(model, config), config.example),
    }


def _channels_last(model: nn.Module, config: RunConfig) -> nn.Module:
    """A copy in the format in which networks run here, so that teacher and student are timed alike."""
    twin = copy.deepcopy(model).to(config.example.device)
    return twin.to(memory_format=torch.channels_last)
