r"""Variational information distillation.

Paper: Ahn, Hu, Damianou, Lawrence, Dai: Variational Information Distillation for Knowledge Transfer,
    CVPR 2019

arXiv: 1904.05835

Formula:
    L = \sum_l \frac{1}{N C_l H_l W_l} \sum_{i,c,h,w} \frac{1}{2}
        \left( \frac{(r_l(f^s_{li}) - f^t_{li})_{chw}^2}{v_{lc}} + \log v_{lc} \right),
    v_{lc} = \log(1 + e^{\alpha_{lc}}) + 10^{-5}

Reads: the map of each stage of both models, the last ones paired where one has more.

Shapes: maps [N, C, H, W]; channels and sizes may differ. The trained \alpha_l is [C_l of the teacher].

Source: HobbitLong/RepDistiller, distiller_zoo/VID.py (VIDLoss)

Differences:
    - The constant \log(2 \pi) / 2 of the Gaussian is left out, so that the loss may be negative.
    - The regressor r has the same layers at all levels: three 1x1 convolutions of the teacher's width without bias
      or batch norm, with ReLUs between them.
    - Of two maps that differ in size the larger is average-pooled to the smaller, before the regressor.
    - megvii-research/mdistiller leaves \alpha out of the optimizer, so that it is never trained; here it is.
    - In published code \log(1 + e^{\alpha}) overflows in float32 above \alpha = 88; here it does not.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from smskd.errors import UserError, require_positive
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads
from smskd.interfaces.terms import DataInfo, Kind, Method, TermInputs
from smskd.ops.geometry import pool_to_smaller
from smskd.ops.levels import LevelModules
from smskd.ops.pairing import paired_stages
from smskd.ops.precision import full_precision
from smskd.ops.reduction import Reduction, reduced, sample_mean


@full_precision
def vid_loss(
    prediction: Tensor,
    teacher: Tensor,
    log_scale: Tensor,
    minimum_variance: float,
    reduction: Reduction = "mean",
) -> Tensor:
    """Negative log-likelihood of the teacher's map under a Gaussian around the student's prediction of it.

    Ahn et al. 2019, arXiv 1904.05835; equal to ``VIDLoss`` of HobbitLong/RepDistiller after its regressor.

    Args:
        prediction: [N, C, H, W], the regressor's output.
        teacher: [N, C, H, W].
        log_scale: [C], whose softplus is the variance of a channel.
        minimum_variance: added to the variance.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        Scalar; [N] with reduction ``none``. Each sample is averaged over its elements; without the constant
        log(2 pi) / 2.
    """
    variance = torch.logaddexp(log_scale, log_scale.new_zeros(())) + minimum_variance
    variance = variance.view(1, -1, 1, 1)
    return reduced(0.5 * sample_mean((prediction - teacher).square() / variance + variance.log()), reduction)


class VIDRegressor(nn.Module):
    """Predicts the teacher's map from the student's, with a variance for each channel.

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


class VIDRegressors(LevelModules[VIDRegressor]):
    """A regressor for each level: ``level0``, ``level1``, ..."""


@dataclass(frozen=True)
class VID(Method):
    """Variational information distillation: the teacher's maps are predicted from the student's.

    Attributes:
        initial_variance: the variance of every channel before training.
        minimum_variance: lower bound of the variance.
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

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The map of each stage of both models."""
        return paired_stages(student, teacher, "VID")

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        """A regressor for each level."""
        assert teacher is not None
        log_scale = _inverse_softplus(self.initial_variance - self.minimum_variance)
        pairs = zip(student.shapes, teacher.shapes, strict=True)
        return VIDRegressors("level", (VIDRegressor(s[0], t[0], log_scale) for s, t in pairs))

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``level0``, ``level1``, ...: one for each pair of maps, [N]."""
        assert isinstance(state, VIDRegressors)
        parts = {}
        levels = zip(state, inputs.student.features, inputs.teacher.features, strict=True)
        for level, (regressor, *maps) in enumerate(levels):
            student, teacher = pool_to_smaller(*maps)
            prediction = regressor(student)
            loss = vid_loss(prediction, teacher, regressor.log_scale, self.minimum_variance, "none")
            parts[f"level{level}"] = loss
        return parts


def _inverse_softplus(y: float) -> float:
    """log(exp(y) - 1), also where exp(y) would overflow."""
    return y + math.log(-math.expm1(-y))
