"""A method in the objective, with two small networks: gradients, stages in a row, a stage shared with KD."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor, nn

from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.pace import Pace
from smskd.config.runtime import ComputeConfig
from smskd.errors import UserError
from smskd.interfaces.batch import Batch, Progress
from smskd.interfaces.terms import DataInfo, Method
from smskd.methods.fitnet import FitNet
from smskd.methods.kd import KD
from smskd.models import create
from smskd.models.frozen import Frozen
from smskd.objective.weighted_sum import Objective
from smskd.recipe import OptimizerSpec, ScheduleSpec
from smskd.testing.expect import require, require_finite_scalars, require_same, total
from smskd.testing.inputs import CLASSES, DATA, LABELS
from smskd.training.optimizer import build_optimizer
from smskd.training.pretraining import Phase
from smskd.training.step import Step

_PAIRS = (("resnet8_w2", "resnet8_w4"), ("resnet8_w2", "resnet8_w2"))
"""Student and teacher; the second is for methods that refuse networks of different widths."""

_PACE = Pace(OptimizerSpec(learning_rate=1e-3), ScheduleSpec(), epochs=3, seed=0)


def gradients(method: Method) -> None:
    """The loss reaches the student and the method's trained parameters, never the teacher or the reference."""
    objective = _objective(method, [KD()])
    objective.next_stage([method], anchor=ReferenceKL())
    (batch, *_) = _Pictures().epoch(0, views=objective.views)
    losses = objective(batch)
    require_finite_scalars(losses.parts, "the objective")
    require("anchor" in losses.parts, "the stage has lost its anchor")
    losses.total.backward()
    name = objective.methods[0].name
    pretraining = method.pretraining(objective.student_side(0))
    alone = [part for key, part in losses.parts.items() if key == name or key.startswith(f"{name}.")]
    reached = any(part.requires_grad for part in alone)
    if pretraining is not None:
        method.pretrained(objective.states[0]).requires_grad_(True)
        total(objective.prepare(0, batch, trains_student=pretraining.trains_student)).backward()  # type: ignore[no-untyped-call]
        reached = reached or pretraining.trains_student
    require(reached, "nothing of the method's loss depends on the student")
    idle = [key for key, parameter in objective.states.named_parameters() if _idle(parameter)]
    require(not idle, f"no gradient reaches: {', '.join(idle)}")
    for who, frozen in _frozen(objective).items():
        touched = [key for key, parameter in frozen.named_parameters() if parameter.grad is not None]
        touched += [key for key, parameter in frozen.named_parameters() if parameter.requires_grad]
        require(not touched, f"a gradient reaches the {who}: {', '.join(touched)}")


def first(method: Method) -> None:
    """It is the first of three stages."""
    _train(method, [[method], [FitNet()], [KD()]])


def second(method: Method) -> None:
    """It is the second of three stages."""
    _train(method, [[FitNet()], [method], [KD()]])


def third(method: Method) -> None:
    """It is the third of three stages."""
    _train(method, [[FitNet()], [KD()], [method]])


def joint(method: Method) -> None:
    """It shares a stage with KD, and the next one, named after it."""
    _train(method, [[method, KD()], [KD(), method]] if not method.replaces_head else [[method, KD()]])


def _train(method: Method, stages: Sequence[Sequence[Method]]) -> None:
    """A few steps of each stage: all is finite, the student moves, teacher and reference stay bit for bit."""
    objective = _objective(method, stages[0])
    for number, methods in enumerate(stages, 1):
        if number > 1:
            before = _weights(objective.predictor)
            objective.next_stage(methods, anchor=ReferenceKL())
            require(objective.reference is not None, f"stage {number} has no reference")
            assert objective.reference is not None
            same = "the reference is not the student as the stage before left it"
            require_same(_weights(objective.reference.model), before, same)
        student, frozen = _weights(objective.student), _said(objective)
        _stage(objective, number)
        moved = any(not torch.equal(value, student[key]) for key, value in _weights(objective.student).items())
        require(moved, f"stage {number} leaves the student as it was")
        require_same(_said(objective), frozen, f"stage {number} changes teacher or reference")


def _stage(objective: Objective, number: int) -> None:
    pictures = _Pictures()
    for place, item in enumerate(objective.methods):
        pretraining = item.method.pretraining(objective.student_side(place))
        if pretraining is not None:
            phase = Phase(objective, place, replace(pretraining, epochs=1), _PACE, ComputeConfig(), number)
            require(len(list(phase.epochs(pictures, 1))) == 1, "the phase before the stage has no epoch")
    objective.train()
    step = Step(objective, build_optimizer(_PACE.optimizer, objective.trainable()), ComputeConfig())
    for batch in pictures.epoch(number, Progress(1, 1), objective.views):
        require_finite_scalars(step(batch).parts, f"stage {number}")


def _objective(method: Method, methods: Sequence[Method]) -> Objective:
    """With the first pair of networks that the method takes."""
    for student, teacher in _PAIRS[:-1]:
        try:
            _made(student, teacher, [method])
        except UserError:
            continue
        return _made(student, teacher, methods)
    return _made(*_PAIRS[-1], methods)


def _made(student: str, teacher: str, methods: Sequence[Method]) -> Objective:
    models = [create(name, classes=CLASSES, channels=1) for name in (student, teacher)]
    return Objective(*models, methods=methods, example=_Pictures().x[:2], data=DATA)


def _idle(parameter: nn.Parameter) -> bool:
    return parameter.requires_grad and parameter.grad is None


def _frozen(objective: Objective) -> dict[str, Frozen]:
    pairs = {"teacher": objective.teacher, "reference": objective.reference}
    return {name: frozen for name, frozen in pairs.items() if frozen is not None}


def _said(objective: Objective) -> dict[str, Tensor]:
    """Weights and buffers of teacher and reference, and what they say of a picture."""
    x = _Pictures().x[:2]
    tensors: dict[str, Tensor] = {}
    for name, frozen in _frozen(objective).items():
        tensors |= {f"{name} {key}": value for key, value in _weights(frozen.model).items()}
        tensors[f"{name} logits"] = frozen(x)
    return tensors


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in chain(model.named_parameters(), model.named_buffers())}


class _Pictures:
    """A loader of two batches of random pictures 1x8x8, with any view that is asked for."""

    def __init__(self) -> None:
        self.x = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(5))

    @property
    def info(self) -> DataInfo:
        return DATA

    def __len__(self) -> int:
        return 2

    def epoch(
        self, number: int, progress: Progress | None = None, views: frozenset[str] = frozenset()
    ) -> Iterator[Batch]:
        for index in torch.arange(16).view(2, 8):
            x = self.x[index]
            other = {name: x + 0.1 * place for place, name in enumerate(sorted(views), 1)}
            yield Batch(x, LABELS[index], index, progress or Progress(), other)
