"""A student whose last layers are those of a method: another network than the one that training began with."""

import json
from collections.abc import Collection, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from smskd.interfaces.features import LOGITS, FeatureModel, ModelInfo, Tap
from smskd.interfaces.terms import DataInfo, Method
from smskd.models import read_metadata
from smskd.objective.tapped_features import tapped_outputs
from smskd.registry import METHODS


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


def rebuild_head(student: FeatureModel, description: str) -> StudentWithHead:
    """The model of a :meth:`StudentWithHead.description`, on a fresh student and with a fresh head."""
    value = json.loads(description)
    method = METHODS.find(value["method"])(**value["hyperparameters"])
    classes, inputs = value["classes"], value["classifier_inputs"]
    classifier = nn.Linear(inputs, classes) if inputs is not None else None
    infos = (
        ModelInfo(tuple(map(tuple, value["student_shapes"])), classes),
        ModelInfo(tuple(map(tuple, value["teacher_shapes"])), classes, classifier),
    )
    head = method.build(*infos, DataInfo(samples=0, classes=classes, batch_size=1))
    return StudentWithHead(student, method, tuple(map(Tap.parse, value["taps"])), head, infos)


def head_descriptions_in(path: str | Path) -> list[str]:
    """The descriptions of the heads of a student whose weights are in a file or in the folder of a run.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    file = Path(path)
    if not file.is_dir() and file.suffix != ".safetensors":
        return []
    found: list[str] = json.loads(read_metadata(file).get("heads", "[]"))
    return found


def head_descriptions(model: FeatureModel) -> list[str]:
    """The descriptions of a student's heads, the innermost first; empty where no method has replaced its own."""
    found: list[str] = []
    while isinstance(model, StudentWithHead):
        found.insert(0, model.description())
        model = model.backbone
    return found
