r"""Overhaul of feature distillation.

Paper: Heo, Kim, Yun, Park, Kwak, Choi: A Comprehensive Overhaul of Feature Distillation, ICCV 2019

arXiv: 1904.01866

Formula:
    L = \sum_{l=0}^{n-1} 2^{l-n+1} \frac{1}{N} \sum_{i,c,h,w} d(r_l(f^s_l), f^t_l, m_l),
    d(x, y, m) = \begin{cases} (x - \max(y, m))^2 & y > 0 \text{ or } x > \max(y, m) \\ 0 & \text{otherwise}
        \end{cases},
    m = \mathrm{E}[z \mid z < 0], z \sim \mathcal{N}(\beta, \gamma^2)

Reads: the map of each stage of both models before its ReLU, the last ones paired where one has more.

Shapes: maps [N, C, H, W]; r is a 1x1 convolution to the teacher's channels and a batch norm. The teacher's
    map is average-pooled to the size of the student's. The margin m_l is [C_l of the teacher].

Source: megvii-research/mdistiller, mdistiller/distillers/OFD.py; clovaai/overhaul-distillation,
    CIFAR-100/distiller.py

Differences:
    - Both repositories keep the teacher in train mode while distilling, so that its batch norms use batch statistics
      and update their running ones; here it is frozen in eval mode.
    - The margin of a channel is computed from weight and bias of the batch norm before the teacher's ReLU, also where
      a shortcut is added after that batch norm. Where less than 0.001 of the distribution is negative it is three
      standard deviations below zero.
    - A feature without such a batch norm (ShuffleNets, models outside of the zoo) has no published margin. As an
      extension it is then the mean of the channel's negative values in the first batch, 0 where there are none.
    - Where the teacher has more stages than the student, mdistiller takes the margins of its first stages; here they
      are those of the stages that are compared.
    - A batch norm whose weight is 0 is a division by zero in published code; its margin is the limit here.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads
from smskd.interfaces.terms import DataInfo, Kind, Method, TermInputs
from smskd.ops.levels import LevelModules
from smskd.ops.pairing import paired_preactivations
from smskd.ops.precision import full_precision
from smskd.ops.reduction import Reduction, reduced, sample_sum

RARE = 1e-3
"""Probability of negative values below which the margin is three standard deviations."""


@full_precision
def ofd_loss(connected: Tensor, teacher: Tensor, margin: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Partial squared difference of a pair of maps: it is zero where the ReLU of both models is inactive.

    Heo et al. 2019, arXiv 1904.01866; equal to ``feat_loss`` of megvii-research/mdistiller.

    Args:
        connected: the student's map after the connector, [N, C, H, W].
        teacher: the teacher's map before the ReLU, [N, C, H', W']; it is average-pooled to H x W.
        margin: [C], negative: the student's target where the teacher is below it.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        Scalar; [N] with reduction ``none``. Each sample is summed over its elements.
    """
    target = F.adaptive_avg_pool2d(teacher, (connected.shape[2], connected.shape[3]))
    bound = torch.maximum(target, margin.to(target.dtype).view(1, -1, 1, 1))
    counts = (target > 0) | (connected > bound)
    return reduced(sample_sum((connected - bound).square() * counts), reduction)


def ofd_margin(weight: Tensor, bias: Tensor) -> Tensor:
    """Expectation of the negative values of a batch norm's output, assuming a normal distribution.

    Args:
        weight: [C], whose absolute value is the standard deviation.
        bias: [C], the mean.

    Returns:
        [C] float64, without gradient; three standard deviations below 0 where fewer than 0.001 are negative.
    """
    deviation, mean = weight.detach().double().abs(), bias.detach().double()
    ratio = mean / deviation.clamp_min(torch.finfo(torch.float64).tiny)
    negative = torch.special.ndtr(-ratio)
    density = (-ratio.square() / 2).exp() / math.sqrt(2 * math.pi)
    return torch.where(negative > RARE, mean - deviation * density / negative.clamp_min(RARE), -3 * deviation)


@full_precision
def estimated_margin(teacher: Tensor) -> Tensor:
    """[C]: the mean of the negative values of each channel of a map [N, C, H, W], 0 where there is none."""
    count = (teacher < 0).sum((0, 2, 3))
    return teacher.clamp_max(0).sum((0, 2, 3)) / count.clamp_min(1)


class Connector(nn.Module):
    """Maps the student's map to the teacher's channels; holds their margins.

    Args:
        channels: of the student's map.
        wanted: of the teacher's map.
        norm: the batch norm before the teacher's ReLU; None: the margins are estimated from the first batch.
    """

    margin: Tensor

    def __init__(self, channels: int, wanted: int, norm: nn.BatchNorm2d | None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, wanted, 1, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        self.bn = nn.BatchNorm2d(wanted)
        known = ofd_margin(norm.weight, norm.bias).float() if norm is not None and norm.affine else None
        self.estimates = known is None
        self.register_buffer("margin", torch.full((wanted,), math.nan) if known is None else known)

    def forward(self, x: Tensor) -> Tensor:
        """[N, student channels, H, W] to [N, teacher channels, H, W]."""
        y: Tensor = self.bn(self.conv(x))
        return y

    @torch.no_grad()
    def margin_for(self, teacher: Tensor) -> Tensor:
        """The margins [C]; estimated from the teacher's map [N, C, H, W] where they are not known yet."""
        if self.estimates:  # torch.where instead of a condition on the margin, which would synchronise with the device
            self.margin.copy_(torch.where(self.margin.isnan(), estimated_margin(teacher), self.margin))
        return self.margin


class Connectors(LevelModules[Connector]):
    """A connector for each level: ``connector0``, ``connector1``, ..."""


@dataclass(frozen=True)
class OFD(Method):
    """Overhaul of feature distillation: maps before the ReLU are fitted, except where the ReLU is inactive."""

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 1e-3

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The map of each stage of both models before its ReLU."""
        return paired_preactivations(student, teacher, "OFD")

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        """A connector for each level."""
        assert teacher is not None
        norms = teacher.norms or (None,) * len(teacher.shapes)
        levels = zip(student.shapes, teacher.shapes, norms, strict=True)
        return Connectors("connector", (Connector(s[0], t[0], norm) for s, t, norm in levels))

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``level0``, ``level1``, ...: one for each pair of maps, [N], with its weight."""
        assert isinstance(state, Connectors)
        levels = zip(state, inputs.student.features, inputs.teacher.features, strict=True)
        losses = [ofd_loss(connector(s), t, connector.margin_for(t), "none") for connector, s, t in levels]
        return {f"level{level}": 2.0 ** (level - len(losses) + 1) * loss for level, loss in enumerate(losses)}
