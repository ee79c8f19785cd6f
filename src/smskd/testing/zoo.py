"""A method between all families of the zoo: every pair has a finite loss, or is refused in one line."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, FeatureModel, Shape
from smskd.interfaces.terms import Method, TermInputs
from smskd.models import create, describe
from smskd.models.zoo.resnet50 import ResNet50
from smskd.objective.tapped_features import model_info
from smskd.testing.expect import require, require_finite_parts
from smskd.testing.inputs import CLASSES, DATA, LABELS, outputs
from smskd.testing.method_case import stage_loss

FAMILIES = ("resnet8", "wrn_16_1", "vgg8", "ResNet50", "MobileNetV2", "ShuffleV1", "ShuffleV2")
FURTHER_LAYERS = ("MobileNetV2", "ShuffleV2")
"""Families with layers between the last stage and the pooling, which a method may refuse."""

IMAGE_SHAPE = (3, 32, 32)
SAMPLES = 4
THIN = 8
"""Width of the ResNet50, an eighth of the true one, to save time and memory."""

_DRAWN = 2**16
"""Number of elements of a large weight that are drawn."""


def pairs(method: Method) -> None:
    """A finite loss for each pair, or a UserError of one line for two architectures.

    The networks' outputs are random, not computed, because the check is one of shapes.
    """
    failures = [
        f"student {student}, teacher {teacher}: {failure}"
        for student in FAMILIES
        for teacher in FAMILIES
        if (failure := _failure(method, student, teacher))
    ]
    require(not failures, "; ".join(failures))


def _failure(method: Method, student: str, teacher: str) -> str:
    try:
        _try(method, student, teacher)
    except UserError as error:
        if student == teacher and student not in FURTHER_LAYERS:
            return f"refused: {error}"
        return "" if str(error) and "\n" not in str(error) else f"refused, not in one line: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    return ""


def _try(method: Method, student: str, teacher: str) -> None:
    (own, own_layout), (other, other_layout) = _model(student), _model(teacher)
    reads = method.reads(own_layout, other_layout)
    infos = model_info(own, own_layout, reads.student), model_info(other, other_layout, reads.teacher)
    with _QuickInitialisation():
        state = method.build(*infos, replace(DATA, batch_size=SAMPLES))
    views = {view: _random(IMAGE_SHAPE) for view in reads.views}
    batch = Batch(_random(IMAGE_SHAPE), LABELS[:SAMPLES], torch.arange(SAMPLES), views=views)
    inputs = TermInputs(
        batch,
        outputs(own_layout, reads.student, _random),
        outputs(other_layout, reads.teacher, lambda shape: -_random(shape)),
    )
    require_finite_parts(stage_loss(method, state, inputs), SAMPLES, "the loss")
    if method.pretraining(infos[0]) is not None:
        parts = method.pretraining_loss(inputs, state)
        require_finite_parts(parts, SAMPLES, "the loss of the phase before the stage")


@cache
def _model(name: str) -> tuple[FeatureModel, FeatureLayout]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ResNet50(CLASSES, width=THIN) if name == "ResNet50" else create(name, CLASSES)
    return model, describe(model, IMAGE_SHAPE)


@cache
def _random(shape: Shape) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(SAMPLES, *shape, generator=generator)


class _QuickInitialisation(TorchFunctionMode):
    """Draws the first rows of a large weight alone, and repeats them.

    Drawing millions of numbers for each pair would take most of the time, and shapes do not depend on them.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is not nn.init.kaiming_uniform_:
            return func(*args, **(kwargs or {}))
        given = inspect.signature(func).bind(*args, **(kwargs or {})).arguments
        weight: Tensor = given.pop("tensor")
        rows = max(1, _DRAWN * len(weight) // weight.numel())
        with torch.no_grad():
            func(weight[:rows], **given)
            for start in range(rows, len(weight), rows):
                block = weight[start : start + rows]
                block.copy_(weight[: len(block)])
        return weight
