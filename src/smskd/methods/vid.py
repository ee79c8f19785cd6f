r"""Variational information distillation.

Paper: Ahn, Hu, Damianou, Lawrence, Dai: Variational Information Distillation for Knowledge Transfer,
    CVPR 2019

arXiv: 1904.05835

Formula:
    L = \sum_l \frac{1}{N C_l H_l W_l} \sum_{i,c,h,w} \frac{1}{2}
        \left( \frac{(r_l(f^s_{li}) - f^t_{li})_{chw}^2}{v_{lc}} + \log v_{lc} \right),
    v_{lc} = \log(1 + e^{\alpha_{lc}}) + 10^{-5}

Taps: the map of each stage of both models, the last ones paired where one has more.

Shapes: maps [N, C, H, W]; channels and sizes may differ. The trained \alpha_l is [C_l of the teacher].

Source: HobbitLong/RepDistiller, distiller_zoo/VID.py (VIDLoss)

Differences:
    - The constant \log(2 \pi) / 2 of the Gaussian is left out, so the loss may be negative.
    - The regressor r is the same at all levels: three 1x1 convolutions without bias or batch norm, ReLU
      between, all of the teacher's width.
    - Of two maps that differ in size the larger is average-pooled to the smaller, before the regressor.
    - megvii-research/mdistiller keeps \alpha out of the optimiser, where it never learns; here it is trained.
    - \log(1 + e^{\alpha}) overflows in published code in float32 from \alpha = 88; it does not here.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from smskd.errors import UserError, require_positive
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads, TappedOutputs
from smskd.interfaces.terms import DataInfo, Kind, Method
from smskd.ops.geometry import pool_to_smaller
from smskd.ops.pairing import paired_stages
from smskd.ops.precision import full_precision


@full_precision
def vid_loss(prediction: Tensor, teacher: Tensor, log_scale: Tensor, minimum_variance: float) -> Tensor:
    """Negative log-likelihood of the teacher's map under a Gaussian around the student's prediction of it.

    Ahn et al. 2019, arXiv 1904.05835; equal to ``VIDLoss`` of HobbitLong/RepDistiller behind its regressor.

    Args:
        prediction: [N, C, H, W], the regressor's output.
        teacher: [N, C, H, W].
        log_scale: [C], softplus of which is the variance of a channel.
        minimum_variance: added to the variance.

    Returns:
        Scalar, averaged over all elements, without the constant log(2 pi) / 2.
    """
    variance = torch.logaddexp(log_scale, log_scale.new_zeros(())) + minimum_variance
    variance = variance.view(1, -1, 1, 1)
    return 0.5 * ((prediction - teacher).square() / variance + variance.log()).mean()


class VIDRegressor(nn.Module):
    """Predicts a teacher's map from a student's; holds the variance of each channel.

    Args:
        student_channels: of the student's map.
        teacher_channels: of the teacher's map.
        log_scale: initial value of the trained parameter.
    """

    def __init__(self, student_channels: int, teacher_channels: int, log_scale: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(student_channels, teacher_channels, 1, bias=False)
        self.conv2 = nn.Conv2d(teacher_channels, teacher_channels, 1, bias=False)
        self.conv3 = nn.Conv2d(teacher_channels, teacher_channels, 1, bias=False)
        self.log_scale = nn.Parameter(torch.full((teacher_channels,), log_scale))

    def forward(self, x: Tensor) -> Tensor:
        """[N, student channels, H, W] to [N, teacher channels, H, W]."""
        y: Tensor = self.conv3(self.conv2(self.conv1(x).relu()).relu())
        return y


@dataclass(frozen=True)
class VID(Method):
    """Variational information distillation: the student's maps are made to tell the teacher's.

    Attributes:
        initial_variance: the variance of every channel before training.
        minimum_variance: what the variance never falls below.
    """

    initial_variance: float = 5.0
    minimum_variance: float = 1e-5

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        require_positive(initial_variance=self.initial_variance, minimum_variance=self.minimum_variance)
        if self.initial_variance <= self.minimum_variance:
            raise UserError(
                f"initial_variance must be above minimum_variance {self.minimum_variance}, not {self.initial_variance}"
            )

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        """The map of each stage of both models."""
        return paired_stages(student, teacher, "VID")

    def build(self, student: ModelInfo, teacher: ModelInfo, data: DataInfo) -> nn.Module:
        """A regressor a level: ``level0``, ``level1``, ..."""
        pairs = enumerate(zip(student.shapes, teacher.shapes, strict=True))
        log_scale = _inverse_softplus(self.initial_variance - self.minimum_variance)
        return nn.ModuleDict({f"level{level}": VIDRegressor(s[0], t[0], log_scale) for level, (s, t) in pairs})

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        """``level0``, ``level1``, ...: one a pair of maps."""
        parts = {}
        for level, pair in enumerate(zip(student.features, teacher.features, strict=True)):
            regressor = state.get_submodule(f"level{level}")
            assert isinstance(regressor, VIDRegressor)
            small_student, small_teacher = pool_to_smaller(*pair)
            prediction = regressor(small_student)
            parts[f"level{level}"] = vid_loss(prediction, small_teacher, regressor.log_scale, self.minimum_variance)
        return parts


def _inverse_softplus(y: float) -> float:
    """log(exp(y) - 1), also where exp(y) would overflow."""
    return y + math.log(-math.expm1(-y))
