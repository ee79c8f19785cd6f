"""A student whose last layers are those of a method: another network than the one that training began with."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Annotated, Any, cast

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor, nn

from smskd.config.base import ComponentConfig
from smskd.errors import UserError
from smskd.interfaces.features import LOGITS, FeatureModel, ModelInfo, Roles, Tap
from smskd.interfaces.terms import DataInfo, Method
from smskd.objective.tapped_features import tapped_outputs
from smskd.registry import METHODS

Size = Annotated[int, Field(ge=1, le=10**7)]


class StudentWithHead(FeatureModel):
    """A student with a method's layers as its head (SimKD: the projector and the teacher's classifier).

    Its features are the student's; its logits are computed by the head from the tapped features.

    Args:
        student: the network below, not copied.
        method: whose :meth:`Method.head` computes the logits.
        taps: the student's features that it reads.
        head: the method's modules, not copied.
        infos: what the method knew of student and teacher when it built them.
    """

    def __init__(
        self,
        student: FeatureModel,
        method: Method,
        taps: Sequence[Tap],
        head: nn.Module,
        infos: tuple[ModelInfo, ModelInfo],
    ) -> None:
        super().__init__()
        self.backbone = student
        self.head = head
        self._method = method
        self._taps = tuple(taps)
        self._infos = infos

    @property
    def feature_names(self) -> tuple[str, ...]:
        return self.backbone.feature_names

    @property
    def preactivation_names(self) -> frozenset[str]:
        return self.backbone.preactivation_names

    @property
    def roles(self) -> Roles | None:
        return self.backbone.roles

    @property
    def sources(self) -> Mapping[str, str]:
        return self.backbone.sources

    def norm_before_relu(self, name: str) -> nn.BatchNorm2d | None:
        return self.backbone.norm_before_relu(name)

    def forward(self, x: Tensor) -> Tensor:
        """The logits [N, classes]."""
        return self.extract(x, (LOGITS,))[LOGITS]

    def extract(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        below = {name for name in names if name != LOGITS}
        if LOGITS not in names:
            return self.backbone.extract(x, below)
        tensors = self.backbone.extract(x, below | {tap.name for tap in self._taps})
        tapped = tapped_outputs({tap: tensors[tap.name] for tap in self._taps}, self._taps)
        logits = self._method.head(tapped, self.head).logits
        return {**{name: tensors[name] for name in below}, LOGITS: logits}

    def description(self) -> str:
        """Everything that :func:`rebuild_head` needs to make the head again, as JSON."""
        student, teacher = self._infos
        classifier = teacher.classifier
        value = {
            "method": METHODS.name_of(self._method),
            "hyperparameters": {
                field.name: getattr(self._method, field.name) for field in fields(cast(Any, self._method))
            },
            "taps": [str(tap) for tap in self._taps],
            "student_shapes": student.shapes,
            "teacher_shapes": teacher.shapes,
            "classes": teacher.classes,
            "classifier_inputs": classifier.in_features if classifier is not None else None,
        }
        return json.dumps(value)


def rebuild_head(student: FeatureModel, description: str, *, trust: bool = False) -> StudentWithHead:
    """The model of a :meth:`StudentWithHead.description`, on a fresh student and with a fresh head.

    Args:
        student: the network below, not copied.
        description: from a file.
        trust: whether a method that does not come with the package is imported and called.

    Raises:
        UserError: the description is damaged, or its method does not come with the package and is not trusted.
    """
    value = _parsed(description)
    if not trust and value.method not in METHODS.builtin_names():
        raise UserError(
            f"the student's head is that of the method '{value.method}', which does not come with smskd: to import it, "
            "say that the file is trusted (trust=True in Python, --trust on the command line)"
        )
    method = METHODS.make(ComponentConfig(value.method, value.hyperparameters), "the head")
    missing = [str(tap) for tap in value.taps if Tap.parse(tap).feature not in (*student.feature_names, LOGITS)]
    if missing:
        raise UserError(f"the head of '{value.method}' reads {missing[0]}, and the student has no such feature")
    classes, inputs = value.classes, value.classifier_inputs
    classifier = nn.Linear(inputs, classes) if inputs is not None else None
    infos = (ModelInfo(value.student_shapes, classes), ModelInfo(value.teacher_shapes, classes, classifier))
    head = method.build(*infos, DataInfo(samples=0, classes=classes, batch_size=1))
    return StudentWithHead(student, method, tuple(map(Tap.parse, value.taps)), head, infos)


@checked_dataclass
class _Description:
    """The types of a description."""

    method: str
    hyperparameters: dict[str, Any]
    taps: tuple[str, ...]
    student_shapes: tuple[tuple[Size, ...], ...]
    teacher_shapes: tuple[tuple[Size, ...], ...]
    classes: Size
    classifier_inputs: Size | None


def _parsed(description: str) -> _Description:
    try:
        found: _Description = _ADAPTER.validate_json(description)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"the description of the student's head is damaged: {where} {first['msg']}") from None
    return found


_ADAPTER = TypeAdapter(_Description)


def head_descriptions(model: FeatureModel) -> list[str]:
    """The descriptions of a student's heads, the innermost first; empty where no method has replaced its own."""
    found: list[str] = []
    while isinstance(model, StudentWithHead):
        found.insert(0, model.description())
        model = model.backbone
    return found
