"""Conflict between the parts of an objective: the cosine of their gradients."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn

from smskd.analysis.significance import half_width
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.inputs import Inputs

WHOLE = "all"
"""The group with all parameters of the student."""

BEHIND = "classifier"
"""The group of the parameters behind the last stage."""

Gradients = list[Tensor | None]


@dataclass(frozen=True)
class Cosine:
    """Of the gradients of two parts of an objective, over batches.

    Attributes:
        mean: over the batches, from -1 (opposite) to 1.
        deviation: sample standard deviation over the batches; None with a single one.
        half_width: half the width of the 95 % interval of the mean (Student's); None with a single batch.
        batches: in which both gradients differ from zero.
    """

    mean: float
    deviation: float | None
    half_width: float | None
    batches: int

    @property
    def negative(self) -> bool:
        """Whether the mean is below zero beyond the noise: its whole 95 % interval is."""
        return self.half_width is not None and self.mean + self.half_width < 0


@dataclass(frozen=True)
class PairConflict:
    """Of two parts of an objective.

    Attributes:
        parts: their names: ``ce`` (cross-entropy), that of a method, ``anchor``.
        cosines: by group of the student's parameters: ``all``, the stages of the network by name, and ``classifier``,
            what lies behind the last stage. A group to which one of the parts gives no gradient is missing.
        fights: whether a step that lowers one part raises the other: the mean cosine over all parameters is below zero
            beyond the noise.
    """

    parts: tuple[str, str]
    cosines: Mapping[str, Cosine]
    fights: bool


@dataclass(frozen=True)
class GradientConflict:
    """Of the parts of a stage's objective.

    Attributes:
        norms: L2 norm of the gradient of each weighted part, mean over the batches, by part and group of parameters.
        pairs: of parts whose gradients can be computed.
        left_out: parts that cannot, and why, in words.
    """

    norms: Mapping[str, Mapping[str, float]]
    pairs: tuple[PairConflict, ...]
    left_out: Mapping[str, str]


def parameter_groups(student: FeatureModel, x: Inputs, stages: Sequence[str]) -> dict[str, list[int]]:
    """Positions of the student's trainable parameters by the stage of the network that they belong to.

    A parameter belongs to the first stage whose output depends on it, as autograd finds it.

    Args:
        student: whose parameters are grouped.
        x: inputs of a batch, as the student takes them.
        stages: names of the features at the end of each stage, first to last.
    """
    parameters = trainable(student)
    groups: dict[str, list[int]] = {WHOLE: list(range(len(parameters)))}
    left = set(groups[WHOLE])
    features = student.extract(x, stages) if stages else {}
    for name in stages:
        depends = _gradients(features[name].sum(), parameters)
        own = sorted(place for place in left if depends[place] is not None)
        left -= {*own}
        if own:
            groups[name] = own
    return groups | ({BEHIND: sorted(left)} if left and stages else {})


def gradient_conflict(
    losses: Callable[[Batch], Mapping[str, Tensor]],
    parameters: Sequence[nn.Parameter],
    groups: Mapping[str, Sequence[int]],
    batches: Iterable[Batch],
    left_out: Mapping[str, str] | None = None,
) -> GradientConflict:
    """The cosines of the gradients of the parts of an objective, by group of parameters.

    As Yu et al. measure conflict (Gradient Surgery for Multi-Task Learning, NeurIPS 2020, arXiv 2001.06782).

    Args:
        losses: the weighted parts of the objective for a batch by name, scalars.
        parameters: of the student.
        groups: positions in ``parameters`` by name of the group.
        batches: over which mean and spread are taken.
        left_out: goes into the result.
    """
    cosines: dict[tuple[str, str], dict[str, list[float]]] = {}
    norms: dict[str, dict[str, list[float]]] = {}
    for batch in batches:
        parts = {name: loss for name, loss in losses(batch).items() if loss.requires_grad}
        found = {name: _gradients(loss, parameters) for name, loss in parts.items()}
        for group, places in groups.items():
            products = _products(found, places)
            for name in found:
                norms.setdefault(name, {}).setdefault(group, []).append(math.sqrt(products[name, name]))
            for pair in combinations(found, 2):
                scale = math.sqrt(products[pair[0], pair[0]] * products[pair[1], pair[1]])
                if scale > 0:
                    cosines.setdefault(pair, {}).setdefault(group, []).append(products[pair] / scale)
    return GradientConflict(
        norms={
            name: {group: sum(values) / len(values) for group, values in own.items()} for name, own in norms.items()
        },
        pairs=tuple(_pair(pair, own) for pair, own in cosines.items()),
        left_out=dict(left_out or {}),
    )


def trainable(student: nn.Module) -> list[nn.Parameter]:
    """The parameters of a network that are trained."""
    return [parameter for parameter in student.parameters() if parameter.requires_grad]


def _gradients(loss: Tensor, parameters: Sequence[nn.Parameter]) -> Gradients:
    if not loss.requires_grad:
        return [None] * len(parameters)
    return list(torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True))


def _products(found: Mapping[str, Gradients], places: Sequence[int]) -> dict[tuple[str, str], float]:
    """The scalar products of the gradients in a group, of each with itself and with those behind it, in float64."""
    names = list(found)
    products = {}
    for number, first in enumerate(names):
        for second in names[number:]:
            total = torch.zeros((), dtype=torch.float64)
            for place in places:
                one, other = found[first][place], found[second][place]
                if one is not None and other is not None:
                    total += torch.dot(one.double().flatten(), other.double().flatten()).cpu()
            products[first, second] = float(total)
    return products


def _pair(parts: tuple[str, str], values: Mapping[str, Sequence[float]]) -> PairConflict:
    cosines = {group: _cosine(own) for group, own in values.items()}
    return PairConflict(parts, cosines, WHOLE in cosines and cosines[WHOLE].negative)


def _cosine(values: Sequence[float]) -> Cosine:
    found = torch.tensor(values, dtype=torch.float64)
    deviation = float(found.std()) if len(values) > 1 else None
    return Cosine(float(found.mean()), deviation, half_width(values), len(values))
