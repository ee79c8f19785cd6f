"""A student and a teacher as methods see them: layouts of two small networks, random features of a batch."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from smskd.interfaces.batch import Batch
from smskd.interfaces.features import LOGITS, FeatureLayout, ModelInfo, Reads, Shape, TappedOutputs
from smskd.interfaces.terms import DataInfo, Method
from smskd.methods.fsp import FSP

CLASSES = 5
SAMPLES = 40
STUDENT = FeatureLayout(
    {"stem": (4, 8, 8), "stage1": (4, 8, 8), "stage2": (8, 4, 4), "stage3": (12, 2, 2), "pooled": (12,)},
    CLASSES,
)
TEACHER = FeatureLayout(
    {"stem": (6, 8, 8), "stage1": (6, 8, 8), "stage2": (8, 4, 4), "stage3": (16, 2, 2), "pooled": (16,)},
    CLASSES,
)
MLP = FeatureLayout({"hidden": (20,), "pooled": (12,)}, CLASSES)
LABELS = torch.arange(SAMPLES) % CLASSES
DATA = DataInfo(SAMPLES, CLASSES, batch_size=8, labels=LABELS)


def teacher_for(method: Method) -> FeatureLayout:
    """FSP compares models of equal widths."""
    return STUDENT if isinstance(method, FSP) else TEACHER


def taps(method: Method, student: FeatureLayout = STUDENT, teacher: FeatureLayout | None = None) -> Reads:
    return method.taps(student, teacher or teacher_for(method))


def shapes(layout: FeatureLayout, names: tuple[str, ...]) -> tuple[Shape, ...]:
    features = (name.partition("@")[0] for name in names if name != LOGITS)
    return tuple((layout.classes,) if name == LOGITS else layout.features[name] for name in features)


def build(method: Method, student: FeatureLayout = STUDENT, teacher: FeatureLayout | None = None) -> nn.Module:
    teacher = teacher or teacher_for(method)
    chosen = taps(method, student, teacher)
    classifier = nn.Linear(teacher.features[teacher.pooled][0], CLASSES)
    return method.build(
        ModelInfo(shapes(student, chosen.student), CLASSES),
        ModelInfo(shapes(teacher, chosen.teacher), CLASSES, classifier),
        DATA,
    )


def batch(index: Tensor) -> Batch:
    return Batch(torch.zeros(len(index), 3, 8, 8), LABELS[index], index)


def output(
    layout: FeatureLayout, names: tuple[str, ...], samples: int, make: Callable[..., Tensor] = torch.randn
) -> TappedOutputs:
    """Random logits and features, leaves with gradient."""
    logits = make(samples, CLASSES).requires_grad_()
    features = tuple(make(samples, *shape).requires_grad_() for shape in shapes(layout, names))
    return TappedOutputs(logits if LOGITS in names else torch.empty(0), features)


def leaves(output: TappedOutputs) -> list[Tensor]:
    return [tensor for tensor in (output.logits, *output.features) if tensor.requires_grad]


def detached(output: TappedOutputs) -> TappedOutputs:
    return TappedOutputs(output.logits.detach(), tuple(feature.detach() for feature in output.features))
