r"""Knowledge distillation by singular value decomposition.

Paper: Lee, Kim, Song: Self-supervised Knowledge Distillation Using Singular Value Decomposition, ECCV 2018

arXiv: 1807.06819

Formula:
    L = \frac{1}{N} \sum_{\ell} \sum_{i,a,b,r} \left( e^{-(\tilde s^{\ell}_{iar} - \tilde s^{\ell+1}_{ibr})^2 / 8}
        - e^{-(\tilde t^{\ell}_{iar} - \tilde t^{\ell+1}_{ibr})^2 / 8} \right)^2

Taps: the map that each stage puts out, of both models.

Shapes: maps [N, C, H, W], of each sample a matrix of H W positions by C channels; t and s are the leading right
    singular vectors of teacher and student [N, C, rank], aligned and times the teacher's singular values.

Source: HobbitLong/RepDistiller, distiller_zoo/KDSVD.py (KDSVD); megvii-research/mdistiller,
    mdistiller/distillers/KDSVD.py

Differences:
    - Of the student's rank + 3 leading vectors the one most parallel to the teacher's is taken, with the sign that
      makes them point the same way.
    - The loss depends on the relative sign of a teacher's vectors at neighbouring levels, which the decomposition
      leaves open.
    - RepDistiller's matrix is positions by channels, so that channel counts must agree. mdistiller's (matrix: rows) is
      channels times height by width, in float32: there the widths must agree.
    - Where singular values coincide the published gradient is NaN; here it has no part along that difference.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from smskd.errors import UserError, require_count
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads, TappedOutputs
from smskd.interfaces.terms import DataInfo, Kind, Method
from smskd.ops.geometry import safe_normalize
from smskd.ops.pairing import paired_stages
from smskd.ops.precision import full_precision
from smskd.ops.svd import right_singular_vectors

EXTRA = 3
"""Further vectors of the student among which the teacher's are looked for."""


@full_precision
def singular_features(matrices: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Normalised leading right singular vectors [N, columns, rank] and values [N, rank] of [N, rows, columns]."""
    vectors, values = right_singular_vectors(matrices, rank)
    return safe_normalize(vectors, dim=1), safe_normalize(values, dim=1)


@full_precision
def kdsvd_loss(student: list[Tensor], teacher_vectors: list[Tensor], teacher_values: list[Tensor]) -> list[Tensor]:
    """The loss of each pair of neighbouring levels.

    Lee et al. 2018, arXiv 1807.06819; equal to ``KDSVD`` of HobbitLong/RepDistiller.

    Args:
        student: for each level the normalised right singular vectors [N, D, more than rank].
        teacher_vectors: for each level [N, D, rank].
        teacher_values: for each level [N, rank].

    Returns:
        A scalar for each pair of neighbouring levels.
    """
    own, other = [], []
    for vectors, target, values in zip(student, teacher_vectors, teacher_values, strict=True):
        own.append(_aligned(vectors, target) * values.unsqueeze(1))
        other.append(target * values.unsqueeze(1))
    return [
        (_affinity(s, s_next) - _affinity(t, t_next)).square().sum() / len(s)
        for (s, s_next), (t, t_next) in zip(pairwise(own), pairwise(other), strict=True)
    ]


def _aligned(vectors: Tensor, target: Tensor) -> Tensor:
    """For each target vector the most parallel of the vectors, pointing the same way."""
    cosine = vectors.detach().transpose(1, 2) @ target
    size = cosine.abs()
    chosen = torch.where(size == size.amax(1, keepdim=True), cosine.sign(), 0)
    return vectors @ chosen


def _affinity(level: Tensor, following: Tensor) -> Tensor:
    return (-(level.unsqueeze(2) - following.unsqueeze(1)).square() / 8).exp()


@dataclass(frozen=True)
class KDSVD(Method):
    """KDSVD: how the main directions of one level's map lie to those of the next.

    Attributes:
        rank: leading singular vectors that are compared.
        matrix: a sample's matrix is positions by channels (positions) or channels times height by width (rows).
    """

    rank: int = 1
    matrix: Literal["positions", "rows"] = "positions"

    kind: ClassVar[Kind] = "relation"
    published_weight: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        require_count(rank=self.rank)
        if self.matrix not in ("positions", "rows"):
            raise UserError(f"matrix must be positions or rows, not {self.matrix}")

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        """The map of each stage of both models."""
        taps = paired_stages(student, teacher, "KDSVD")
        if len(taps.student) < 2:
            raise UserError("KDSVD compares neighbouring stages and the models have a single one in common")
        return taps

    def build(self, student: ModelInfo, teacher: ModelInfo, data: DataInfo) -> nn.Module:
        """Nothing; the columns of the matrices have to agree.

        Raises:
            UserError: they do not, or the teacher's matrices have fewer than ``rank`` singular vectors.
        """
        axis, what = (0, "channels") if self.matrix == "positions" else (2, "columns of width")
        for level, (own, other) in enumerate(zip(student.shapes, teacher.shapes, strict=True)):
            if own[axis] != other[axis]:
                raise UserError(
                    f"KDSVD compares vectors of as many entries as a map has {what}; at level {level + 1} the "
                    f"student's has {own[axis]} and the teacher's {other[axis]}{self._advice(student, teacher)}"
                )
            self._require_rank(level, *other)
        return nn.Module()

    def _advice(self, student: ModelInfo, teacher: ModelInfo) -> str:
        fits = all(own[2] == other[2] for own, other in zip(student.shapes, teacher.shapes, strict=True))
        choice = ", or take matrix: rows, which compares their widths" if self.matrix == "positions" and fits else ""
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
        """A map [N, C, H, W] as a matrix for each sample."""
        if self.matrix == "positions":
            return feature.flatten(2).transpose(1, 2)
        return feature.flatten(1, 2).float()

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        """``pair0``, ``pair1``, ...: the loss of each pair of neighbouring levels."""
        own = [singular_features(self.matrices(feature), self.rank + EXTRA)[0] for feature in student.features]
        other = [singular_features(self.matrices(feature), self.rank) for feature in teacher.features]
        losses = kdsvd_loss(own, [vectors for vectors, _ in other], [values for _, values in other])
        return {f"pair{pair}": loss for pair, loss in enumerate(losses)}
