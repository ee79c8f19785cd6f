r"""Semantic calibration: cross-layer distillation.

Paper: Chen, Mei, Zhang, Wang, Wang, Feng, Chen: Cross-Layer Distillation with Semantic Calibration, AAAI 2021

arXiv: 2012.03236

Formula:
    L = \frac{1}{N S} \sum_{i,l,m} \alpha_{ilm} \, \mathrm{mean}_{c,h,w} (p_{lm}(f^s_{li}) - f^t_{mi})_{chw}^2,
    \alpha_{ilm} = \mathrm{softmax}_m \left( \langle q_{li}, k_{mi} \rangle / T \right)

Reads: the map of each stage of both models.

Shapes: maps [N, C, H, W] of S student and M teacher levels; q_l and k_m [N, N / factor] are computed from the Gram
    matrices [N, N] of the flattened maps of the batch; the projector p_lm maps C_l channels to C_m; attention
    [N, S, M].

Source: DefangChen/SimKD, models/util.py (SelfA, Proj, MLPEmbed), distiller_zoo/SemCKD.py

Differences:
    - The batch size determines the layers that embed the Gram matrices. A batch of another size, the last one of an
      epoch, has a loss of zero; the published code leaves such batches out of training altogether.
    - For the same reason the loss depends on the order of the samples in the batch.
    - Of two maps that differ in size the larger is average-pooled to the smaller, the student's before the projector.
    - An embedding of zero has zero gradient here, not NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smskd.errors import UserError, require_count, require_positive
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads, Shape, TappedOutputs
from smskd.interfaces.terms import DataInfo, Kind, Method, TermInputs
from smskd.ops.geometry import pool_to_smaller, safe_normalize
from smskd.ops.layers import LenientBatchNorm2d, flat
from smskd.ops.pairing import paired_stages, require_teacher
from smskd.ops.precision import full_precision
from smskd.ops.reduction import Reduction, reduced, sample_mean


@full_precision
def semckd_loss(attention: Tensor, differences: Tensor, reduction: Reduction = "mean") -> Tensor:
    """The differences of all pairs of levels, weighted by the attention between them.

    Chen et al. 2021, arXiv 2012.03236; equal to ``SemCKDLoss`` of DefangChen/SimKD.

    Args:
        attention: [N, student levels, teacher levels], sums to 1 over the teacher's.
        differences: [N, student levels, teacher levels], mean squared differences.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        Scalar; [N] with reduction ``none``. Each sample is averaged over the student's levels.
    """
    return reduced((attention * differences).sum((1, 2)) / attention.shape[1], reduction)


class Embedding(nn.Module):
    """Two linear layers from a row of the batch's Gram matrix to a unit vector."""

    def __init__(self, batch_size: int, factor: int) -> None:
        super().__init__()
        width = batch_size // factor
        self.linear1 = nn.Linear(batch_size, 2 * width)
        self.linear2 = nn.Linear(2 * width, width)

    @full_precision
    def forward(self, feature: Tensor) -> Tensor:
        """[N, ...] to unit vectors [N, N / factor]. Sums of squares over a map overflow in float16."""
        rows = flat(feature)
        return safe_normalize(self.linear2(F.relu(self.linear1(rows @ rows.T))))


class Projector(nn.Module):
    """1x1, 3x3 and 1x1 convolution with batch norms and ReLUs between them."""

    def __init__(self, channels: int, wanted: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 2 * wanted, 1, bias=False)
        self.bn1 = LenientBatchNorm2d(2 * wanted)
        self.conv2 = nn.Conv2d(2 * wanted, 2 * wanted, 3, padding=1, bias=False)
        self.bn2 = LenientBatchNorm2d(2 * wanted)
        self.conv3 = nn.Conv2d(2 * wanted, wanted, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, student channels, H, W] to [N, teacher channels, H, W]."""
        y: Tensor = self.conv3(F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))))
        return y


@full_precision
def _difference(projected: Tensor, target: Tensor) -> Tensor:
    return sample_mean((projected - target).square())


class SemCKDState(nn.Module):
    """The embeddings ``query<l>`` and ``key<m>`` of the levels, and the projectors ``projector<l>_<m>`` of their pairs.

    Args:
        student: shapes of the student's maps, without N.
        teacher: shapes of the teacher's maps.
        batch_size: N.
        factor: quotient of N and the width of the embeddings.
    """

    def __init__(self, student: Sequence[Shape], teacher: Sequence[Shape], batch_size: int, factor: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.queries = tuple(Embedding(batch_size, factor) for _ in student)
        self.keys = tuple(Embedding(batch_size, factor) for _ in teacher)
        self.projectors = tuple(tuple(Projector(s[0], t[0]) for t in teacher) for s in student)
        for name, embeddings in (("query", self.queries), ("key", self.keys)):
            for level, embedding in enumerate(embeddings):
                self.add_module(f"{name}{level}", embedding)
        for level, row in enumerate(self.projectors):
            for other, projector in enumerate(row):
                self.add_module(f"projector{level}_{other}", projector)


@dataclass(frozen=True)
class SemCKD(Method):
    """SemCKD: each student level learns from all teacher levels, weighted by a trained attention.

    Attributes:
        factor: quotient of the batch size and the width of the embeddings.
        temperature: of the softmax of the attention.
    """

    factor: int = 4
    temperature: float = 1.0

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 400.0
    order_matters: ClassVar[bool] = True
    relates_samples: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_count(factor=self.factor)
        require_positive(temperature=self.temperature)

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The map of each stage of both models."""
        teacher = require_teacher(teacher, "SemCKD")
        paired_stages(student, teacher, "SemCKD")
        return Reads(student.stages, teacher.stages)

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        """The embeddings of each level and the projectors of each pair.

        Raises:
            UserError: the batch size is smaller than the factor.
        """
        assert teacher is not None
        if data.batch_size < self.factor:
            raise UserError(f"SemCKD needs batches of at least factor = {self.factor} samples, not {data.batch_size}")
        return SemCKDState(student.shapes, teacher.shapes, data.batch_size, self.factor)

    def attention(self, student: TappedOutputs, teacher: TappedOutputs, state: nn.Module) -> Tensor:
        """The attention between the levels of a batch, [N, student levels, teacher levels]."""
        assert isinstance(state, SemCKDState)
        query = [embedding(feature) for embedding, feature in zip(state.queries, student.features, strict=True)]
        key = [embedding(feature) for embedding, feature in zip(state.keys, teacher.features, strict=True)]
        energy = torch.stack(query, 1) @ torch.stack(key, 1).transpose(1, 2)
        return (energy / self.temperature).softmax(2)

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``level``: the weighted differences, [N]; zeros for a batch of another size than the layers have."""
        assert isinstance(state, SemCKDState)
        student, teacher = inputs.student.features, inputs.teacher.features
        if len(student[0]) != state.batch_size:
            return {"level": torch.stack([0.0 * flat(feature).sum(1) for feature in student]).sum(0)}
        rows = []
        for own, projectors in zip(student, state.projectors, strict=True):
            pairs = [pool_to_smaller(own, other) for other in teacher]
            row = [_difference(projector(s), t) for projector, (s, t) in zip(projectors, pairs, strict=True)]
            rows.append(torch.stack(row, 1))
        attention = self.attention(inputs.student, inputs.teacher, state)
        return {"level": semckd_loss(attention, torch.stack(rows, 1), "none")}
