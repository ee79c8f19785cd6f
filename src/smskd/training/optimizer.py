"""The optimizer, its learning rate over the epochs, and how its state goes on across stages."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from smskd.config.optimization import OptimizerConfig, ScheduleConfig
from smskd.interfaces.objective import ParameterGroup
from smskd.strategies.resolved import ResolvedStage


def build_optimizer(config: OptimizerConfig, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
    """The optimizer of a stage, fused where the device has that.

    Args:
        config: its settings.
        groups: the parameters to train. A group's own settings replace those of ``config``.
    """
    chosen = [_group(config, group) for group in groups if group.parameters]
    trained = [parameter for group in groups for parameter in group.parameters]
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in trained) or None
    if config.name == "adamw":
        # "capturable": may be part of a CUDA graph; there is none elsewhere.
        return torch.optim.AdamW(
            chosen,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=fused,
            capturable=all(parameter.device.type == "cuda" for parameter in trained),
        )
    optimizer = torch.optim.SGD(
        chosen,
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=fused,
    )
    if config.momentum:
        # The fused update needs a buffer for every parameter or for none, and a stage's new parameters have none yet.
        # The first step makes the same of zeros as of no buffer: the gradient.
        for parameter in trained:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def _group(config: OptimizerConfig, group: ParameterGroup) -> dict[str, Any]:
    """A parameter group of torch; ``lr_scale`` is its learning rate as a share of the optimizer's."""
    rate = config.learning_rate if group.learning_rate is None else group.learning_rate
    rate *= group.learning_rate_scale
    decay = config.weight_decay if group.weight_decay is None else group.weight_decay
    scale = rate / config.learning_rate
    return {"params": list(group.parameters), "lr": rate, "weight_decay": decay, "lr_scale": scale}


def carry_state(old: torch.optim.Optimizer, new: torch.optim.Optimizer) -> None:
    """Gives the new optimizer the old one's state of the parameters that both have, if they are of one kind."""
    if type(new) is not type(old):  # AdamW cannot go on from the momentum of SGD, nor SGD from AdamW's moments
        return
    for group in new.param_groups:
        for parameter in group["params"]:
            if parameter in old.state:
                new.state[parameter] = old.state[parameter]


def state_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state, by ``<number of the parameter>.<name>``."""
    tensors = {}
    for number, parameter in enumerate(_parameters(optimizer)):
        for name, value in optimizer.state.get(parameter, {}).items():
            if value is not None:
                tensors[f"{number}.{name}"] = value if isinstance(value, Tensor) else torch.tensor(value)
    return tensors


def load_state_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Puts back what :func:`state_tensors` gave."""
    parameters = _parameters(optimizer)
    counts_there = any(group.get("fused") or group.get("capturable") for group in optimizer.param_groups)
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        parameter = parameters[int(number)]
        if value.shape == parameter.shape:  # in the parameter's own memory format, as it was
            value = torch.empty_like(parameter).copy_(value)
        elif counts_there:  # the steps it has made
            value = value.to(parameter.device)
        optimizer.state[parameter][name] = value


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate; a group with one of its own keeps its share of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)


def learning_rate(base: float, schedule: ScheduleConfig, epochs: int, stage: ResolvedStage, epoch: int) -> float:
    """The learning rate of an epoch.

    Args:
        base: the optimizer's.
        schedule: the run's.
        epochs: the run's, on which a cosine ends.
        stage: the stage that the epoch is in; its own schedule, if it has one, counts from its start.
        epoch: counted from 1 over the whole run.
    """
    if stage.schedule is None:
        return _scheduled(base, schedule, epochs, epoch)
    return _scheduled(base, stage.schedule, stage.epochs, epoch - stage.first + 1)


def _scheduled(base: float, schedule: ScheduleConfig, epochs: int, epoch: int) -> float:
    rate = schedule.learning_rate or base
    if epoch <= schedule.warmup_epochs:
        return rate * epoch / schedule.warmup_epochs
    if schedule.name == "step":
        return float(rate * schedule.decay_rate ** sum(epoch > decay for decay in schedule.decay_epochs))
    if schedule.name == "cosine":
        done = (epoch - 1 - schedule.warmup_epochs) / max(1, epochs - schedule.warmup_epochs)
        return rate * (1 + math.cos(math.pi * min(1.0, done))) / 2
    return rate


def _parameters(optimizer: torch.optim.Optimizer) -> list[Any]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
