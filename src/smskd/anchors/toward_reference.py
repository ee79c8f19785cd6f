r"""Toward the reference: any distillation method with the reference in the teacher's place.

Paper: that of the method; SMSKD (arXiv 2601.15657) has the KL divergence in this place

Formula:
    L = L_{method}(f^s, f^r)

Reads: the taps of the method, with the reference in place of the teacher.

Shapes: those of the method; student and reference are networks of one architecture.

Source: the source of the method.

Differences:
    - Student and reference have features of equal shapes, so that no trained layer is needed between them. One that the
      method has by default can follow the student's changes instead of penalising them: `regressor: false` of FitNets
      compares the maps themselves.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from torch import Tensor, nn

from smskd.config.base import ComponentConfig
from smskd.errors import UserError, require_between
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, FeatureModel, ModelInfo, Reads, TappedOutputs
from smskd.interfaces.terms import Anchor, DataInfo, LabelUse, Method, TermInputs
from smskd.registry import METHODS


@dataclass(frozen=True)
class TowardReference(Anchor):
    """A distillation method whose teacher is the student as it stood at the end of the previous stage.

    Attributes:
        weight: weight of the method's loss in the objective, 0 or more. The scale of the loss is the method's own, so
            the method's ``published_weight`` is a guide to its size. 0: the reference is not run.
        method: a method: an object, a name, or a mapping of the name and hyper-parameters,
            ``{name: fitnet, hint_layer: 3}``. A method that replaces the student's last layers (SimKD) or has a phase
            before the stage (AB, FSP and FT, unless their ``init_epochs`` is 0) is refused.
    """

    weight: float = 0.4
    method: Method | str | Mapping[str, Any] = "kd"

    __pydantic_config__ = {"arbitrary_types_allowed": True}  # noqa: RUF012 (the name and form that pydantic reads)

    def __post_init__(self) -> None:
        require_between(0, math.inf, weight=self.weight)
        method = _method(self.method)
        if method.replaces_head:
            name = METHODS.name_of(method)
            raise UserError(f"toward_reference: {name} replaces the student's last layers; choose another method")
        object.__setattr__(self, "method", method)
        # A constant of the class elsewhere, here the method's.
        object.__setattr__(self, "relates_samples", method.relates_samples)
        object.__setattr__(self, "needs_labels", method.needs_labels)

    @property
    def _made(self) -> Method:
        return cast(Method, self.method)

    @property
    def label_use(self) -> LabelUse:
        """That of the method."""
        return self._made.label_use

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The taps of the method, those of the teacher as taps of the reference.

        Raises:
            UserError: the student has no features that the method could read.
        """
        reads = self._made.reads(student, student)
        return Reads(reads.student, reference=reads.teacher, weights=reads.weights)

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        """The method's modules; ``teacher`` is the reference.

        Raises:
            UserError: the method has a phase before the stage, or the shapes do not fit.
        """
        if self._made.pretraining(student) is not None:
            name = METHODS.name_of(self._made)
            raise UserError(f"toward_reference: {name} has a phase before the stage; choose another method")
        return self._made.build(student, teacher, data)

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """The parts of the method's loss, unchanged."""
        swapped = replace(inputs, teacher=inputs.reference, reference=TappedOutputs())
        return self._made.loss(swapped, state)

    def end_of_stage(self, model: FeatureModel, batches: Iterable[Batch], state: nn.Module) -> None:
        """Delegates to the method."""
        self._made.end_of_stage(model, batches, state)


def _method(value: Method | str | Mapping[str, Any]) -> Method:
    if isinstance(value, Method):
        return value
    component = ComponentConfig.of(dict(value) if isinstance(value, Mapping) else value)
    if not isinstance(component, ComponentConfig):
        raise UserError("method must be the name of a method, or a mapping with its name")
    method: Method = METHODS.make(component, "method")
    return method
