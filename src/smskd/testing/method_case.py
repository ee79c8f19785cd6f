"""A method between two networks that are given by their layouts."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from smskd.errors import UserError
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads, Tap
from smskd.interfaces.terms import Method, TermInputs
from smskd.testing.case import Case, Parts, Phase, trainable
from smskd.testing.inputs import DATA, NARROW, WIDE, as_leaves, random_batch, random_outputs, tapped_shapes


@dataclass(frozen=True)
class MethodCase(Case):
    """A method, with a student and a teacher."""

    method: Method
    student: FeatureLayout = NARROW
    teacher: FeatureLayout = WIDE

    @property
    def term(self) -> Method:
        return self.method

    @property
    def reads(self) -> Reads:
        """The features that the method reads of these models."""
        return self.method.reads(self.student, self.teacher)

    def infos(self) -> tuple[ModelInfo, ModelInfo]:
        """Both models, as the method sees them when it builds its modules."""
        reads = self.reads
        return _info(self.student, reads.student), _info(self.teacher, reads.teacher)

    def build(self) -> nn.Module:
        return self.method.build(*self.infos(), DATA)

    def inputs(self, samples: int = 8, seed: int = 1) -> TermInputs:
        reads, generator = self.reads, torch.Generator().manual_seed(seed)
        student = as_leaves(random_outputs(self.student, reads.student, samples, generator))
        teacher = random_outputs(self.teacher, reads.teacher, samples, generator)
        return TermInputs(random_batch(reads, samples, generator), student, teacher)

    @property
    def phases(self) -> tuple[Phase, ...]:
        stage = Phase("the loss", lambda state, inputs: stage_loss(self.method, state, inputs), trainable)
        pretraining = self.method.pretraining(self.infos()[0])
        if pretraining is None:
            return (stage,)
        where = "the loss of the phase before the stage"
        before = Phase(where, self._pretraining_loss, self._pretrained, pretraining.trains_student)
        return stage, before

    def _pretraining_loss(self, state: nn.Module, inputs: TermInputs) -> Parts:
        return self.method.pretraining_loss(inputs, state)

    def _pretrained(self, state: nn.Module) -> dict[str, nn.Parameter]:
        module = self.method.pretrained(state).requires_grad_(True)
        return {f"pretrained {name}": parameter for name, parameter in module.named_parameters()}


def method_case(method: Method) -> MethodCase:
    """With two networks of different widths; of the same ones where the method refuses that."""
    case = MethodCase(method)
    try:
        case.build()
    except UserError:
        return MethodCase(method, NARROW, NARROW)
    return case


def stage_loss(method: Method, state: nn.Module, inputs: TermInputs) -> Parts:
    """The parts of a method's loss in a stage, with the method's head where it replaces the student's."""
    if method.replaces_head:
        inputs = replace(inputs, student=method.head(inputs.student, state))
    return method.loss(inputs, state)


def _info(layout: FeatureLayout, taps: tuple[Tap, ...]) -> ModelInfo:
    shapes = tapped_shapes(layout, taps)
    classifier = nn.Linear(layout.features[layout.pooled][0], layout.classes)
    return ModelInfo(shapes, layout.classes, classifier, (None,) * len(shapes))
