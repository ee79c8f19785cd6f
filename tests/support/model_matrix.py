"""The taps of the architectures, and a training step of every method with each of them as teacher and as student."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.terms import DataInfo, Method
from smskd.models import adapt, create, describe
from smskd.models.frozen import Frozen
from smskd.objective.build import build_objective
from smskd.registry import METHODS
from tests.support.architectures import ARCHITECTURES, CLASSES, network, trained_network

WORKS = "works"
WRONG = "WRONG:"
"""In front of an error that no user should see."""

ROLES = ("teacher", "student")
METHOD_NAMES = tuple(sorted(METHODS.builtin_names()))
STUDENT, TEACHER = "resnet8", "resnet8x4"
"""The other network of a pair, of the zoo."""

_BATCH = 4
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "ab": {"init_epochs": 0, "main_stage": True},
    "fsp": {"init_epochs": 0, "main_stage": True},
    "ft": {"init_epochs": 0},
    "crd": {"negatives": 4},
    "reviewkd": {"warmup": 1},
    "dkd": {"warmup": 1},
}
"""Options with which a method's loss is not 0 in the first step of a stage."""


def adapted(name: str) -> FeatureModel:
    """The network of an architecture as a feature model."""
    return adapt(network(name), torch.zeros(1, 3, _size(name), _size(name)))


def taps(name: str) -> dict[str, Any]:
    """For each role of an architecture its feature, the module at which that is read, and its shape."""
    model = adapted(name)
    layout = describe(model, (3, _size(name), _size(name)))
    roles = layout.roles
    assert roles is not None

    def tap(feature: str) -> str:
        shape = "x".join(map(str, layout.features[feature]))
        return f"{feature}: {model.sources[feature]} {shape}"

    return {
        "stem": tap(roles.stem) if roles.stem else None,
        "stages": [tap(stage) for stage in roles.stages],
        "last_map": tap(roles.last_map) if roles.last_map else None,
        "pooled": tap(roles.pooled) if roles.pooled else None,
        "mean_pooled": roles.mean_pooled,
        "classifier": model.classifier is not None,
    }


def method(name: str) -> Method:
    """A method with the defaults, except where its loss would be 0 in the first step."""
    made: Method = METHODS.find(name)(**_OPTIONS.get(name, {}))
    return made


def step(name: str, student: FeatureModel, teacher: Frozen, size: int) -> str:
    """``works`` if a training step of a method has finite losses that depend on the images; else why it is refused.

    Raises:
        AssertionError: a loss is not finite, is constant, or gives the student no gradient.
    """
    own = method(name)
    try:
        objective = build_objective(
            student, teacher, methods=[own], example=torch.zeros(_BATCH, 3, size, size), data=_data(), ce_weight=0.0
        )
    except UserError as error:
        return str(error)
    objective.train()
    losses = [objective(_batch(seed, size)) for seed in (0, 1)]
    parts = [{part: float(value.detach()) for part, value in loss.parts.items() if part != "ce"} for loss in losses]
    assert all(math.isfinite(value) for found in parts for value in found.values()), parts
    constant = [part for part in parts[0] if parts[0][part] == parts[1][part]]
    assert len(constant) < len(parts[0]), f"constant losses: {constant}"
    weights = [weight for weight in student.parameters() if weight.requires_grad]
    found = [gradient for gradient in _gradients(losses[0].total, weights) if gradient is not None]
    assert all(bool(gradient.isfinite().all()) for gradient in found)
    assert any(bool(gradient.any()) for gradient in found), "the student gets no gradient"
    return WORKS


def outcomes(name: str, role: str, methods: tuple[str, ...]) -> dict[str, str]:
    """The result of a step of each method with an architecture as ``teacher`` or ``student``.

    It is :data:`WORKS`, the line of a refusal, or :data:`WRONG` and an error.
    """
    example = torch.zeros(1, 3, _size(name), _size(name))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        own, other = adapt(trained_network(name), example), create(STUDENT if role == "teacher" else TEACHER, CLASSES)
        student, teacher = (other, own) if role == "teacher" else (own, other)
        frozen = Frozen(teacher, example, copy=False)
        return {each: _outcome(each, student, frozen, _size(name)) for each in methods}


def _outcome(method_name: str, student: FeatureModel, teacher: Frozen, size: int) -> str:
    """:func:`step`, where an error is a row of its own and not the end of the others."""
    try:
        return step(method_name, student, teacher, size)
    except Exception as error:
        reason = (str(error).strip() or "no message").splitlines()[0]
        return f"{WRONG} {type(error).__name__}: {reason}"


def _gradients(loss: Tensor, weights: list[Tensor]) -> tuple[Tensor | None, ...]:
    return torch.autograd.grad(loss, weights, allow_unused=True)


def _size(name: str) -> int:
    return ARCHITECTURES[name].size


def _data() -> DataInfo:
    labels = torch.arange(4 * _BATCH) % CLASSES
    return DataInfo(samples=len(labels), classes=CLASSES, batch_size=_BATCH, labels=labels)


def _batch(seed: int, size: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x, strong = torch.randn(2, _BATCH, 3, size, size, generator=generator)
    index = torch.arange(_BATCH) + seed * _BATCH
    return Batch(x, index % CLASSES, index=index, views={"strong": strong})
