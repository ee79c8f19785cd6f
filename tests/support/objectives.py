"""Objectives of the tiny networks, and a stage after another."""

from typing import Any

import torch
from torch import nn

from smskd.interfaces.batch import Batch
from smskd.interfaces.objective import Objective
from smskd.interfaces.terms import Anchor, WeightedMethod
from smskd.models.frozen import Frozen
from smskd.objective import build_objective
from smskd.objective.weighted_sum import WeightedSum
from tests.support import tiny

SINGLE: list[str | WeightedMethod] = ["kd", "fitnet", "vid", "at", "sp", "rkd", "pkt", tiny.SMALL_CRD]


def objective(methods: tiny.Methods = (), **options: Any) -> WeightedSum:
    """Of fresh networks; ``options`` are those of :func:`build_objective`."""
    return build_objective(
        tiny.student(), tiny.teacher(), methods=methods, example=tiny.EXAMPLE, data=tiny.loader().info, **options
    )


def next_stage(made: WeightedSum, methods: tiny.Methods, anchor: Anchor | None = None) -> WeightedSum:
    """The objective of the stage after another one, with the student as it is now as the reference."""
    return build_objective(
        made.predictor,
        made.parts.teacher,
        methods=methods,
        example=tiny.EXAMPLE,
        data=tiny.loader().info,
        anchor=anchor,
        reference=Frozen(made.predictor, tiny.EXAMPLE),
    )


def batch(number: int = 1) -> Batch:
    return next(iter(tiny.loader().epoch(number)))


def trained(made: Objective) -> list[nn.Parameter]:
    """The parameters that an optimizer trains."""
    return [parameter for group in made.parameter_groups() for parameter in group.parameters]


def train(made: Objective) -> None:
    """Trains an epoch at a high learning rate."""
    optimizer = torch.optim.SGD(trained(made), lr=0.1)
    for item in tiny.loader().epoch(2):
        optimizer.zero_grad()
        made(item).total.backward()
        optimizer.step()


def name_of(method: str | WeightedMethod) -> str:
    return method if isinstance(method, str) else method.name


def teacher_of(made: WeightedSum) -> Frozen:
    assert made.parts.teacher is not None
    return made.parts.teacher


def reference_of(made: WeightedSum) -> Frozen:
    assert made.parts.reference is not None
    return made.parts.reference
