"""Inputs of single methods, made with :mod:`smskd.testing`."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from smskd.interfaces.batch import Batch, Progress
from smskd.interfaces.features import FeatureLayout, TappedOutputs
from smskd.interfaces.terms import Method, TermInputs
from smskd.methods.fsp import FSP
from smskd.testing.inputs import CLASSES, LABELS, NARROW, WIDE
from smskd.testing.method_case import MethodCase

STUDENT, TEACHER = NARROW, WIDE
MLP = FeatureLayout({"hidden": (20,), "pooled": (12,)}, CLASSES)


class ReadNames(NamedTuple):
    """The short forms of the taps of a method."""

    student: tuple[str, ...]
    teacher: tuple[str, ...]


def case(method: Method, student: FeatureLayout = STUDENT, teacher: FeatureLayout | None = None) -> MethodCase:
    """A method between two models; FSP gets a teacher of the student's widths."""
    default = STUDENT if isinstance(method, FSP) else TEACHER
    return MethodCase(method, student, teacher or default)


def read_names(method: Method, student: FeatureLayout = STUDENT, teacher: FeatureLayout | None = None) -> ReadNames:
    reads = case(method, student, teacher).reads
    return ReadNames(tuple(map(str, reads.student)), tuple(map(str, reads.teacher)))


def build(method: Method, student: FeatureLayout = STUDENT, teacher: FeatureLayout | None = None) -> nn.Module:
    return case(method, student, teacher).build()


def feature_inputs(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> TermInputs:
    """These features of the first samples of the data."""
    outputs = (TappedOutputs(features=tuple(features)) for features in (student, teacher))
    return TermInputs(first_samples(len(student[0])), *outputs)


def logit_inputs(student: Tensor, teacher: Tensor, y: Tensor, progress: Progress | None = None) -> TermInputs:
    """These logits of samples with these labels."""
    batch = Batch(torch.empty(len(student), 0), y, progress=progress or Progress())
    return TermInputs(batch, TappedOutputs(student), TappedOutputs(teacher))


def first_samples(count: int) -> Batch:
    """The first samples of the data."""
    return Batch(torch.zeros(count, 3, 8, 8), LABELS[:count], torch.arange(count))
