r"""Knowledge distillation by singular value decomposition.

Paper: Lee, Kim, Song: Self-supervised Knowledge Distillation Using Singular Value Decomposition, ECCV 2018

arXiv: 1807.06819

Formula:
    L = \frac{1}{N} \sum_l \sum_{i,a,b,r} \left( e^{-(v^s_{l,iar} - v^s_{l+1,ibr})^2 / 8}
        - e^{-(v^t_{l,iar} - v^t_{l+1,ibr})^2 / 8} \right)^2

Reads: the map of each stage of both models, the last ones paired where one has more.

Shapes: maps [N, C, H, W], for each sample a matrix of H W positions by C channels; v^s and v^t are the leading right
    singular vectors of student and teacher [N, C, rank], aligned and multiplied by the teacher's singular values.

Source: HobbitLong/RepDistiller, distiller_zoo/KDSVD.py (KDSVD); megvii-research/mdistiller,
    mdistiller/distillers/KDSVD.py

Differences:
    - Among the student's rank + 3 leading vectors the one most parallel to the teacher's is taken, with the sign that
      gives them the same direction.
    - The loss depends on the relative sign of the teacher's vectors at neighbouring levels, which the decomposition
      leaves open.
    - RepDistiller's matrix is positions by channels, so that the channel counts must be equal. mdistiller's (matrix:
      rows) is channels times height by width, in float32: there the widths must be equal.
    - Where singular values coincide the published gradient is NaN; here the component along their difference is left
      out.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from smskd.errors import UserError, require_count
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads
from smskd.interfaces.terms import DataInfo, Kind, Method, TermInputs
from smskd.ops.geometry import safe_normalize
from smskd.ops.pairing import paired_stages
from smskd.ops.precision import full_precision
from smskd.ops.reduction import Reduction, reduced, sample_sum
from smskd.ops.svd import right_singular_vectors

EXTRA = 3
"""Number of additional vectors of the student among which those of the teacher are matched."""


@full_precision
def singular_features(matrices: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Normalised leading right singular vectors [N, columns, rank] and values [N, rank] of [N, rows, columns]."""
    vectors, values = right_singular_vectors(matrices, rank)
    return safe_normalize(vectors, dim=1), safe_normalize(values, dim=1)


@full_precision
def kdsvd_loss(
    student: list[Tensor],
    teacher_vectors: list[Tensor],
    teacher_values: list[Tensor],
    reduction: Reduction = "mean",
) -> list[Tensor]:
    """The loss of each pair of neighbouring levels.

    Lee et al. 2018, arXiv 1807.06819; equal to ``KDSVD`` of HobbitLong/RepDistiller.

    Args:
        student: for each level the normalised right singular vectors [N, D, more than rank].
        teacher_vectors: for each level [N, D, rank].
        teacher_values: for each level [N, rank].
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        For each pair of neighbouring levels a scalar; [N] with reduction ``none``.
    """
    own, other = [], []
    for vectors, target, values in zip(student, teacher_vectors, teacher_values, strict=True):
        own.append(_aligned(vectors, target) * values.unsqueeze(1))
        other.append(target * values.unsqueeze(1))
    return [
        reduced(sample_sum((_affinity(s, s_next) - _affinity(t, t_next)).square()), reduction)
        for (s, s_next), (t, t_next) in zip(pairwise(own), pairwise(other), strict=True)
    ]


def _aligned(vectors: Tensor, target: Tensor) -> Tensor:
    """For each target vector the most parallel of the vectors, with the sign that gives a positive inner product."""
    cosine = vectors.detach().transpose(1, 2) @ target
    size = cosine.abs()
    chosen = torch.where(size == size.amax(1, keepdim=True), cosine.sign(), 0)
    return vectors @ chosen


def _affinity(level: Tensor, following: Tensor) -> Tensor:
    return (-(level.unsqueeze(2) - following.unsqueeze(1)).square() / 8).exp()


@dataclass(frozen=True)
class KDSVD(Method):
    """KDSVD: relations between the singular vectors of neighbouring levels are matched.

    Attributes:
        rank: number of leading singular vectors that are compared.
        matrix: the matrix of a sample: positions by channels (positions), or channels times height by width (rows).
    """

    rank: int = 1
    matrix: Literal["positions", "rows"] = "positions"

    kind: ClassVar[Kind] = "relation"
    published_weight: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        require_count(rank=self.rank)
        if self.matrix not in ("positions", "rows"):
            raise UserError(f"matrix must be positions or rows, not {self.matrix}")

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The map of each stage of both models."""
        reads = paired_stages(student, teacher, "KDSVD")
        if len(reads.student) < 2:
            raise UserError("KDSVD compares neighbouring stages, and the models have a single one in common")
        return reads

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        """No layers.

        Raises:
            UserError: the matrices of student and teacher have different numbers of columns, or the teacher's have
                fewer than ``rank`` singular vectors.
        """
        assert teacher is not None
        axis, what = (0, "channels") if self.matrix == "positions" else (2, "columns")
        for level, (own, other) in enumerate(zip(student.shapes, teacher.shapes, strict=True)):
            if own[axis] != other[axis]:
                raise UserError(
                    f"KDSVD compares vectors with an entry for each of a map's {what}; at level {level + 1} the "
                    f"student's map has {own[axis]} and the teacher's {other[axis]}{self._advice(student, teacher)}"
                )
            self._require_rank(level, *other)
        return nn.Module()

    def _advice(self, student: ModelInfo, teacher: ModelInfo) -> str:
        fits = all(own[2] == other[2] for own, other in zip(student.shapes, teacher.shapes, strict=True))
        choice = ", or set matrix: rows, which compares their widths" if self.matrix == "positions" and fits else ""
        return f"; they must be equal{choice}"

    def _require_rank(self, level: int, channels: int, height: int, width: int) -> None:
        positions = self.matrix == "positions"
        count = min(channels, height * width) if positions else min(channels * height, width)
        if count < self.rank:
            raise UserError(
                f"rank {self.rank} is too high: the teacher's map {channels}x{height}x{width} at level {level + 1} "
                f"has no more than {count} singular vectors"
            )

    def matrices(self, feature: Tensor) -> Tensor:
        """The matrix of each sample of a map [N, C, H, W]: [N, H W, C], or [N, C H, W] in float32 (``rows``)."""
        if self.matrix == "positions":
            return feature.flatten(2).transpose(1, 2)
        return feature.flatten(1, 2).float()

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``pair0``, ``pair1``, ...: the loss of each pair of neighbouring levels, [N]."""
        student = [singular_features(self.matrices(map_), self.rank + EXTRA)[0] for map_ in inputs.student.features]
        teacher = [singular_features(self.matrices(map_), self.rank) for map_ in inputs.teacher.features]
        losses = kdsvd_loss(student, [vectors for vectors, _ in teacher], [values for _, values in teacher], "none")
        return {f"pair{pair}": loss for pair, loss in enumerate(losses)}
