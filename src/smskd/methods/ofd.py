r"""Overhaul of feature distillation.

Paper: Heo, Kim, Yun, Park, Kwak, Choi: A Comprehensive Overhaul of Feature Distillation, ICCV 2019

arXiv: 1904.01866

Formula:
    L = \sum_{l=0}^{n-1} 2^{l-n+1} \frac{1}{N} \sum_{i,c,h,w} d(r_l(f^s_l), f^t_l, m_l),
    d(x, t, m) = \begin{cases} (x - \max(t, m))^2 & t > 0 \text{ or } x > \max(t, m) \\ 0 & \text{otherwise}
        \end{cases},
    m = \mathrm{E}[z \mid z < 0], z \sim \mathcal{N}(\beta, \gamma^2)

Taps: the map of each stage of both models before its ReLU, the last ones paired where one has more.

Shapes: maps [N, C, H, W]; r is a 1x1 convolution to the teacher's channels and a batch norm. The teacher's
    map is average-pooled to the size of the student's. The margin m_l is [C_l of the teacher].

Source: megvii-research/mdistiller, mdistiller/distillers/OFD.py; clovaai/overhaul-distillation,
    CIFAR-100/distiller.py

Differences:
    - Both publications keep the teacher in train mode while distilling, so that its batch norms go by the
      batch and move; here it is frozen in eval mode.
    - The margin of a channel follows from weight and bias of the batch norm before the teacher's ReLU, also
      where a shortcut is added behind that batch norm. Where less than 0.001 of the distribution is negative
      it is three standard deviations below zero.
    - A feature without such a batch norm (ShuffleNets, models not of the zoo) has no published margin. As an
      extension it is then the mean of the channel's negative values in the first batch, 0 without any.
    - Where the teacher has more stages than the student, mdistiller takes the margins of its first stages;
      here they are those of the stages that are compared.
    - A batch norm whose weight is 0 is a division by zero in published code; its margin is the limit here.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads, TappedOutputs
from smskd.interfaces.terms import DataInfo, Kind, Method
from smskd.ops.pairing import paired_stages
from smskd.ops.precision import full_precision

RARE = 1e-3
"""Share of negative values below which the margin is three standard deviations."""


@full_precision
def ofd_loss(connected: Tensor, teacher: Tensor, margin: Tensor) -> Tensor:
    """Partial squared difference of a pair of maps: values that both models' ReLUs cut off cost nothing.

    Heo et al. 2019, arXiv 1904.01866; equal to ``feat_loss`` of megvii-research/mdistiller.

    Args:
        connected: the student's map behind the connector, [N, C, H, W].
        teacher: the teacher's map before the ReLU, [N, C, H', W']; it is average-pooled to H x W.
        margin: [C], negative: what the student is to fall to where the teacher is below it.

    Returns:
        Scalar: the sum over all elements / N.
    """
    target = F.adaptive_avg_pool2d(teacher, (connected.shape[2], connected.shape[3]))
    bound = torch.maximum(target, margin.to(target.dtype).view(1, -1, 1, 1))
    counts = (target > 0) | (connected > bound)
    return ((connected - bound).square() * counts).sum() / len(connected)


def ofd_margin(weight: Tensor, bias: Tensor) -> Tensor:
    """Expectation of the negative values of a batch norm's output, taken as normally distributed.

    Args:
        weight: [C], its absolute value is the standard deviation.
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
    """Brings a student's map to the teacher's channels; keeps the margins of these.

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
        """The margins [C]; set by the teacher's map if they are not known yet."""
        if self.estimates:  # without a question to the device whether they are: that would wait for it
            self.margin.copy_(torch.where(self.margin.isnan(), estimated_margin(teacher), self.margin))
        return self.margin


@dataclass(frozen=True)
class OFD(Method):
    """Overhaul of feature distillation: the student's maps before the ReLU follow what the teacher's ReLU lets
    through."""

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 1e-3

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        """The map of each stage of both models before its ReLU."""
        stages = paired_stages(student, teacher, "OFD")
        return Reads(
            tuple(student.before_relu(name) for name in stages.student),
            tuple(teacher.before_relu(name) for name in stages.teacher),
        )

    def build(self, student: ModelInfo, teacher: ModelInfo, data: DataInfo) -> nn.Module:
        """A connector a level: ``connector0``, ``connector1``, ..."""
        norms = teacher.norms or (None,) * len(teacher.shapes)
        levels = enumerate(zip(student.shapes, teacher.shapes, norms, strict=True))
        return nn.ModuleDict({f"connector{level}": Connector(s[0], t[0], norm) for level, (s, t, norm) in levels})

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        """``level0``, ``level1``, ...: one a pair of maps, with its weight."""
        pairs = list(zip(student.features, teacher.features, strict=True))
        parts = {}
        for level, (own, target) in enumerate(pairs):
            connector = state.get_submodule(f"connector{level}")
            assert isinstance(connector, Connector)
            loss = ofd_loss(connector(own), target, connector.margin_for(target))
            parts[f"level{level}"] = 2.0 ** (level - len(pairs) + 1) * loss
        return parts
