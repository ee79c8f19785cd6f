"""A student and a teacher as methods see them: layouts of two small networks, random features of a batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import LOGITS, PREACTIVATION, FeatureLayout, ModelInfo, Shape, TappedOutputs
from smskd.interfaces.terms import DataInfo, Method
from smskd.testing.expect import total

CLASSES = 5
SAMPLES = 40
LABELS = torch.arange(SAMPLES) % CLASSES
DATA = DataInfo(SAMPLES, CLASSES, batch_size=8, labels=LABELS)
NARROW = FeatureLayout(
    {"stem": (4, 8, 8), "stage1": (4, 8, 8), "stage2": (8, 4, 4), "stage3": (12, 2, 2), "pooled": (12,)}, CLASSES
)
WIDE = FeatureLayout(
    {"stem": (6, 8, 8), "stage1": (6, 8, 8), "stage2": (8, 4, 4), "stage3": (16, 2, 2), "pooled": (16,)}, CLASSES
)


@dataclass(frozen=True)
class Inputs:
    """What a method's loss is given.

    Attributes:
        student: random logits and features, leaves with gradient.
        teacher: likewise, without.
    """

    student: TappedOutputs
    teacher: TappedOutputs
    batch: Batch

    @property
    def leaves(self) -> dict[str, Tensor]:
        """The student's tensors by what they are."""
        tensors = {"the student's logits": self.student.logits}
        tensors |= {f"the student's feature {number}": feature for number, feature in enumerate(self.student.features)}
        return {name: tensor for name, tensor in tensors.items() if tensor.requires_grad}

    def reordered(self, order: Tensor) -> "Inputs":
        """The same samples in another order."""
        batch = self.batch
        index = None if batch.index is None else batch.index[order]
        views = {name: view[order] for name, view in batch.views.items()}
        moved = Batch(batch.x[order], batch.y[order], index, batch.progress, views)
        return Inputs(_reordered(self.student, order), _reordered(self.teacher, order), moved)


@dataclass(frozen=True)
class Pair:
    """Two networks by their layouts."""

    student: FeatureLayout
    teacher: FeatureLayout

    def build(self, method: Method) -> nn.Module:
        """The method's modules for this pair."""
        return method.build(*self.sides(method), DATA)

    def sides(self, method: Method) -> tuple[ModelInfo, ModelInfo]:
        """What the method knows of both."""
        taps = method.taps(self.student, self.teacher)
        return _side(self.student, taps.student), _side(self.teacher, taps.teacher)

    def inputs(self, method: Method, samples: int = 8, seed: int = 1) -> Inputs:
        """A batch of the first samples of the data, and random outputs."""
        generator = torch.Generator().manual_seed(seed)
        taps = method.taps(self.student, self.teacher)
        student = output(self.student, taps.student, lambda shape: torch.randn(samples, *shape, generator=generator))
        teacher = output(self.teacher, taps.teacher, lambda shape: torch.randn(samples, *shape, generator=generator))
        for tensor in (student.logits, *student.features):
            tensor.requires_grad_(tensor.numel() > 0)
        x = torch.randn(samples, 3, 8, 8, generator=generator)
        views = {name.partition("@")[2]: x + 0.1 for name in (*taps.student, *taps.teacher) if "@" in name}
        return Inputs(student, teacher, Batch(x, LABELS[:samples], torch.arange(samples), views=views))


def pair_for(method: Method) -> Pair:
    """Two networks of different widths; of the same ones where the method refuses that."""
    pair = Pair(NARROW, WIDE)
    try:
        pair.build(method)
    except UserError:
        return Pair(NARROW, NARROW)
    return pair


def output(layout: FeatureLayout, names: Sequence[str], make: Callable[[Shape], Tensor]) -> TappedOutputs:
    """What a network of this layout says, made by shape."""
    logits = make((layout.classes,)) if LOGITS in names else torch.empty(0)
    return TappedOutputs(logits, tuple(make(shape) for shape in shapes(layout, names)))


def shapes(layout: FeatureLayout, names: Sequence[str]) -> tuple[Shape, ...]:
    """The shapes of the tapped features."""
    bases = [name.partition("@")[0].removesuffix(PREACTIVATION) for name in names if name != LOGITS]
    return tuple((layout.classes,) if base == LOGITS else layout.features[base] for base in bases)


def loss_parts(method: Method, state: nn.Module, inputs: Inputs, *, autocast: bool = False) -> dict[str, Tensor]:
    """The parts of the method's loss in a stage."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        student = method.transform(inputs.student, state) if method.replaces_head else inputs.student
        return method.loss(student, inputs.teacher, inputs.batch, state)


def pretraining_parts(method: Method, state: nn.Module, inputs: Inputs, *, autocast: bool = False) -> dict[str, Tensor]:
    """The parts of its loss in the phase before the stage."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        return method.pretraining_loss(inputs.student, inputs.teacher, inputs.batch, state)


def backward(parts: dict[str, Tensor]) -> None:
    """From the sum of the parts, where it depends on anything."""
    loss = total(parts)
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]


def _side(layout: FeatureLayout, names: Sequence[str]) -> ModelInfo:
    classifier = nn.Linear(layout.features[layout.pooled][0], layout.classes)
    return ModelInfo(shapes(layout, names), layout.classes, classifier, (None,) * len(shapes(layout, names)))


def _reordered(output: TappedOutputs, order: Tensor) -> TappedOutputs:
    logits = output.logits.detach()
    features = tuple(feature.detach()[order] for feature in output.features)
    return TappedOutputs(logits[order] if logits.numel() else logits, features)
