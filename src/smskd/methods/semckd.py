r"""Semantic calibration: cross-layer distillation.

Paper: Chen, Mei, Zhang, Wang, Wang, Feng, Chen: Cross-Layer Distillation with Semantic Calibration, AAAI 2021

arXiv: 2012.03236

Formula:
    L = \frac{1}{N S} \sum_{i,l,m} \alpha_{ilm} \, \mathrm{mean}_{c,h,w} (p_{lm}(f^s_{li}) - f^t_{mi})_{chw}^2,
    \alpha_{ilm} = \mathrm{softmax}_m \left( \langle q_{li}, k_{mi} \rangle / \tau \right)

Taps: the map that each stage puts out, of both models.

Shapes: maps [N, C, H, W] of S student and M teacher levels; q_l and k_m [N, N / factor] are made from the batch's Gram
    matrices [N, N] of the flattened maps; the projector p_lm brings C_l channels to C_m; attention [N, S, M].

Source: DefangChen/SimKD, models/util.py (SelfA, Proj, MLPEmbed), distiller_zoo/SemCKD.py

Differences:
    - The embeddings of the Gram matrices have the batch size in their layers. A batch of another size, the last one
      of an epoch, has no loss; the published code leaves such batches out of training altogether.
    - For the same reason the loss depends on the order of the batch.
    - If the sizes of two maps differ, the larger is averaged down to the smaller, the student's before the projector.
    - An embedding of zero has gradient zero here, not NaN.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smskd.errors import UserError, require_count, require_positive
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads, TappedOutputs
from smskd.interfaces.terms import DataInfo, Kind, Method
from smskd.ops.geometry import pool_to_smaller, safe_normalize
from smskd.ops.layers import LenientBatchNorm2d, flat
from smskd.ops.pairing import paired_stages
from smskd.ops.precision import full_precision


@full_precision
def semckd_loss(attention: Tensor, differences: Tensor) -> Tensor:
    """The differences of all pairs of levels, weighted by the attention between them.

    Chen et al. 2021, arXiv 2012.03236; equal to ``SemCKDLoss`` of DefangChen/SimKD.

    Args:
        attention: [N, student levels, teacher levels], sums to 1 over the teacher's.
        differences: [N, student levels, teacher levels], mean squared differences.

    Returns:
        Scalar, averaged over the batch and the student's levels.
    """
    return (attention * differences).sum() / (attention.shape[0] * attention.shape[1])


class Embedding(nn.Module):
    """Two linear layers from a row of the batch's Gram matrix to a unit vector."""

    def __init__(self, batch_size: int, factor: int) -> None:
        super().__init__()
        width = batch_size // factor
        self.linear1 = nn.Linear(batch_size, 2 * width)
        self.linear2 = nn.Linear(2 * width, width)

    @full_precision
    def forward(self, feature: Tensor) -> Tensor:
        """[N, ...] to unit vectors [N, N / factor]. The squares of a whole map overflow in float16."""
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
    return (projected - target).square().mean((1, 2, 3))


@dataclass(frozen=True)
class SemCKD(Method):
    """SemCKD: each student level learns from all teacher levels, as much from each as an attention says.

    Attributes:
        factor: the embeddings are so many times shorter than a batch.
        temperature: of the attention's softmax.
    """

    factor: int = 4
    temperature: float = 1.0

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 400.0
    order_matters: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_count(factor=self.factor)
        require_positive(temperature=self.temperature)

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        """The map of each stage of both models."""
        paired_stages(student, teacher, "SemCKD")
        return Reads(student.stages, teacher.stages)

    def build(self, student: ModelInfo, teacher: ModelInfo, data: DataInfo) -> nn.Module:
        """The embeddings of each level and the projectors of each pair.

        Raises:
            UserError: the batch is smaller than the factor.
        """
        if data.batch_size < self.factor:
            raise UserError(f"SemCKD needs batches of at least factor = {self.factor} samples, not {data.batch_size}")
        state = nn.ModuleDict()
        for i in range(len(student.shapes)):
            state[f"query{i}"] = Embedding(data.batch_size, self.factor)
        for j in range(len(teacher.shapes)):
            state[f"key{j}"] = Embedding(data.batch_size, self.factor)
        for i, own in enumerate(student.shapes):
            for j, other in enumerate(teacher.shapes):
                state[f"projector{i}_{j}"] = Projector(own[0], other[0])
        return state

    def attention(self, student: TappedOutputs, teacher: TappedOutputs, state: nn.Module) -> Tensor:
        """[N, student levels, teacher levels]."""
        query = [state.get_submodule(f"query{i}")(feature) for i, feature in enumerate(student.features)]
        key = [state.get_submodule(f"key{j}")(feature) for j, feature in enumerate(teacher.features)]
        energy = torch.stack(query, 1) @ torch.stack(key, 1).transpose(1, 2)
        return (energy / self.temperature).softmax(2)

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        """``level``: the weighted differences; zero for a batch of another size than the layers have."""
        first = state.get_submodule("query0")
        assert isinstance(first, Embedding)
        if len(student.features[0]) != first.linear1.in_features:
            return {"level": sum(((0.0 * feature).sum() for feature in student.features), start=torch.zeros(()))}
        rows = []
        for i, own in enumerate(student.features):
            pairs = [pool_to_smaller(own, other) for other in teacher.features]
            row = [_difference(state.get_submodule(f"projector{i}_{j}")(s), t) for j, (s, t) in enumerate(pairs)]
            rows.append(torch.stack(row, 1))
        return {"level": semckd_loss(self.attention(student, teacher, state), torch.stack(rows, 1))}
