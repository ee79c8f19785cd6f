"""A student whose predictions a method's layers make: another network than the one that training began with."""

import json
from collections.abc import Collection
from dataclasses import fields

from torch import Tensor, nn

from smskd.interfaces.features import LOGITS, FeatureModel, ModelInfo
from smskd.interfaces.terms import DataInfo, Method
from smskd.objective.tapped_features import output
from smskd.registry import METHODS


class StudentWithHead(FeatureModel):
    """A student with a method's layers as its head (SimKD: the projector and the teacher's classifier).

    Its features are the student's; its logits are what the method makes of the tapped ones.

    Args:
        student: the network below, not copied.
        method: whose ``transform`` makes the logits.
        taps: the student's features that it reads.
        head: the method's modules, not copied.
        sides: what the method knew of student and teacher when it built them.
    """

    def __init__(
        self,
        student: FeatureModel,
        method: Method,
        taps: tuple[str, ...],
        head: nn.Module,
        sides: tuple[ModelInfo, ModelInfo],
    ) -> None:
        super().__init__()
        self.backbone = student
        self.head = head
        self._method = method
        self._taps = taps
        self._sides = sides

    @property
    def feature_names(self) -> tuple[str, ...]:
        return self.backbone.feature_names

    @property
    def preactivation_names(self) -> frozenset[str]:
        return self.backbone.preactivation_names

    def norm_before_relu(self, name: str) -> nn.BatchNorm2d | None:
        return self.backbone.norm_before_relu(name)

    def forward(self, x: Tensor) -> Tensor:
        """The logits [N, classes]."""
        return self.extract(x, (LOGITS,))[LOGITS]

    def extract(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        below = {name for name in names if name != LOGITS}
        if LOGITS not in names:
            return self.backbone.extract(x, below)
        tensors = self.backbone.extract(x, below | set(self._taps))
        logits = self._method.transform(output(tensors, self._taps), self.head).logits
        return {**{name: tensors[name] for name in below}, LOGITS: logits}

    def description(self) -> str:
        """What :func:`rebuilt` needs to make the head again, as JSON."""
        student, teacher = self._sides
        classifier = teacher.classifier
        value = {
            "method": METHODS.name_of(self._method),
            "hyperparameters": {field.name: getattr(self._method, field.name) for field in fields(self._method)},  # type: ignore[arg-type]
            "taps": self._taps,
            "student_shapes": student.shapes,
            "teacher_shapes": teacher.shapes,
            "classes": teacher.classes,
            "classifier_inputs": classifier.in_features if classifier is not None else None,
        }
        return json.dumps(value)


def rebuild_head(student: FeatureModel, description: str) -> StudentWithHead:
    """The model that :meth:`StudentWithHead.description` describes, on a fresh student and with a fresh head."""
    value = json.loads(description)
    method = METHODS.find(value["method"])(**value["hyperparameters"])
    classes, inputs = value["classes"], value["classifier_inputs"]
    classifier = nn.Linear(inputs, classes) if inputs is not None else None
    sides = (
        ModelInfo(tuple(map(tuple, value["student_shapes"])), classes),
        ModelInfo(tuple(map(tuple, value["teacher_shapes"])), classes, classifier),
    )
    head = method.build(*sides, DataInfo(samples=0, classes=classes, batch_size=1))
    return StudentWithHead(student, method, tuple(value["taps"]), head, sides)
