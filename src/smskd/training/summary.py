"""The summary of a finished run."""

from typing import Any

import torch
from torch import nn

from smskd.config.given import is_given
from smskd.interfaces.features import FeatureModel
from smskd.models import describe, macs, parameters
from smskd.models.copying import copy_of
from smskd.models.feature_report import role_names
from smskd.models.latency import latency
from smskd.runs.file_names import SUMMARY_FORMAT
from smskd.training.accuracy import Accuracy
from smskd.training.config import RunConfig
from smskd.training.notes import run_notes
from smskd.training.reports import Track, untracked
from smskd.training.state import TrainingState
from smskd.training.teacher_test import last_teacher


def summary(config: RunConfig, state: TrainingState, carried: Accuracy, track: Track = untracked) -> dict[str, Any]:
    """The summary.

    Args:
        config: of the run.
        state: at its end.
        carried: test accuracy of the resulting student.
        track: shows progress while latencies are measured.
    """
    counters = state.counters
    student, teacher = _costs(config, state, track)
    return {
        "format": SUMMARY_FORMAT,
        "name": config.recipe.name,
        "seed": config.recipe.runtime.seed,
        "seconds": round(counters.seconds, 1),
        "epochs": counters.epoch,
        "data": dict(config.data),
        "student": {
            **student,
            "top1_last": counters.test_top1,
            "top5_last": counters.test_top5,
            "top1_best": counters.best_test_top1,
            "best_epoch": counters.best_epoch,
            "validation_top1_best": counters.best_validation_top1,
            "top1": carried.top1,
            "top5": carried.top5,
        },
        "teacher": teacher and {**teacher, **_teacher_accuracy(counters.teacher)},
        "stages": counters.stages,
        "notes": run_notes(counters),
        "skipped_steps": counters.skipped_steps,
        "digest": config.identity.digest,
        "identity": dict(config.identity.facts),
    }


def _costs(config: RunConfig, state: TrainingState, track: Track) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The costs of the student, and of the last stage's teacher that there is."""
    networks = [(config.recipe.student.name, state.student, True)]
    found = last_teacher(config)
    if found is not None:  # one that is spread over processes may not fit this one's device
        networks.append((found[1].name, found[0].model, not found[0].spreads))
    costs = [
        _cost(_model_name(name), model, config, timed=timed)
        for name, model, timed in track(networks, len(networks), "measuring latency")
    ]
    return costs[0], costs[1] if found is not None else None


def _teacher_accuracy(measured: list[float | None] | None) -> dict[str, Any]:
    top1, top5 = measured or (None, None)
    return {"top1_last": top1, "top5_last": top5}


def _model_name(name: str) -> str:
    """The name of a model in a recipe, or the class of one that a program has given."""
    return name[1:-1].rpartition(".")[2] if is_given(name) else name


def _cost(name: str, model: FeatureModel, config: RunConfig, *, timed: bool) -> dict[str, Any]:
    return {
        "model": name,
        "parameters": parameters(model.wrapped),
        "macs": macs(model.wrapped, config.input_form),
        "features": _features(model, config),
        "latency_milliseconds": latency(_channels_last(model, config), config.example) if timed else None,
    }


def _features(model: FeatureModel, config: RunConfig) -> dict[str, Any]:
    """The features by their role, and the modules at which they are read where the network has been wrapped."""
    roles = role_names(describe(model, config.input_form))
    return roles | {"modules": dict(model.sources)} if model.sources else roles


def _channels_last(model: nn.Module, config: RunConfig) -> nn.Module:
    """A copy in the format in which networks run here, so that teacher and student are timed alike."""
    twin = copy_of(model).to(config.device)
    return twin.to(memory_format=torch.channels_last)
