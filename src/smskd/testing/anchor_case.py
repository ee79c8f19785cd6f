"""An anchor between a small student and its reference, in the second of two stages."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from smskd.interfaces.features import FeatureLayout, FeatureModel, Reads, Tap
from smskd.interfaces.terms import Anchor, TermInputs
from smskd.models import describe
from smskd.models.frozen import Frozen
from smskd.objective.bound_term import ReadModels
from smskd.objective.tapped_features import tapped_outputs
from smskd.testing.case import Case, Parts, Phase, trainable
from smskd.testing.inputs import DATA, as_leaves, random_batch, random_outputs, tapped_shapes
from smskd.testing.networks import IMAGE_SHAPE, TEACHER, batches, network

DEVIATION = 0.01
"""Standard deviation of a student from the reference near it."""


@dataclass(frozen=True)
class AnchorCase(Case):
    """An anchor, whose outputs are random and whose weights are those of a network of the zoo."""

    anchor: Anchor
    model: FeatureModel = field(default_factory=network)
    """The student as it stood at the end of the first stage: the reference."""
    teacher: FeatureModel = field(default_factory=lambda: network(TEACHER))

    @property
    def term(self) -> Anchor:
        return self.anchor

    @cached_property
    def layout(self) -> FeatureLayout:
        """The features of student and reference."""
        return describe(self.model, IMAGE_SHAPE)

    @cached_property
    def teacher_layout(self) -> FeatureLayout:
        """The features of the teacher."""
        return describe(self.teacher, IMAGE_SHAPE)

    def build(self) -> nn.Module:
        teacher, reference = Frozen(self.teacher), Frozen(self.model)
        models = ReadModels(self.model, self.layout, teacher, self.teacher_layout, reference)
        return self.anchor.build(*models.infos(self._reads), DATA)

    def ready(self) -> nn.Module:
        state = self.build()
        self.end_stage(state)
        return state

    def end_stage(self, state: nn.Module) -> None:
        self.model.eval()
        self.anchor.end_of_stage(self.model, list(batches()), state)

    def inputs(self, samples: int = 8, seed: int = 1) -> TermInputs:
        generator = torch.Generator().manual_seed(seed)
        reads = self._reads
        student = random_outputs(self.layout, reads.student, samples, generator)
        reference = random_outputs(self.layout, reads.reference, samples, generator)
        teacher = random_outputs(self.teacher_layout, reads.teacher, samples, generator)
        batch = random_batch(reads, samples, generator)
        parameters = self.model.named_parameters() if reads.weights else ()
        old = {name: parameter.detach() for name, parameter in parameters}
        weights = {name: near(weight, generator).requires_grad_() for name, weight in old.items()}
        return TermInputs(batch, as_leaves(student), teacher, reference, weights, old)

    def at_reference(self) -> TermInputs:
        """Inputs of a student that equals the reference, without gradient."""
        reads, inputs, generator = self._reads, self.inputs(), torch.Generator().manual_seed(2)
        tensors: dict[Tap, Tensor] = {}
        for tap in (*reads.student, *reads.reference):
            (shape,) = tapped_shapes(self.layout, [replace(tap, view="any")])
            tensors.setdefault(tap, torch.randn(len(inputs.batch.y), *shape, generator=generator))
        student, reference = (tapped_outputs(tensors, taps) for taps in (reads.student, reads.reference))
        return replace(inputs, student=student, reference=reference, weights=inputs.reference_weights)

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (Phase("the loss", self._loss, trainable),)

    def _loss(self, state: nn.Module, inputs: TermInputs) -> Parts:
        return self.anchor.loss(inputs, state)

    @property
    def _reads(self) -> Reads:
        return self.anchor.reads(self.layout, self.teacher_layout)


def near(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """The tensor with a small random deviation, without gradient."""
    return tensor.detach() + DEVIATION * torch.randn(tensor.shape, generator=generator)
