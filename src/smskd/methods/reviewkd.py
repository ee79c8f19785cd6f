r"""Knowledge review.

Paper: Chen, Liu, Zhao, Jia: Distilling Knowledge via Knowledge Review, CVPR 2021

arXiv: 2104.09044

Formula:
    L = \min(e / e_0, 1) \sum_l \frac{1}{\sum_k w_{lk}} \sum_k w_{lk} \, \mathrm{MSE}(p_k(o_l), p_k(f^t_l)),
    o_l = \mathrm{BN}(\mathrm{Conv}_{3 \times 3}(g_l)),
    g_l = \alpha_l \, \mathrm{BN}(\mathrm{Conv}_{1 \times 1}(f^s_l)) + \beta_l \, g_{l+1},
    (\alpha_l, \beta_l) = \sigma(\mathrm{Conv}_{1 \times 1}([\mathrm{BN}(\mathrm{Conv}_{1 \times 1}(f^s_l)), g_{l+1}])),
    p_k: \text{the whole map, then averages over } 4 \times 4, 2 \times 2, 1 \times 1 \text{ fields, as far as they
        are smaller}; w = 1, 1/2, 1/4, 1/8

Reads: the map of each stage and the pooled vector of both models, the teacher's maps before their ReLU; the last
    stages are paired where one has more.

Shapes: maps [N, C, H, W], pooled vectors [N, C] as 1x1 maps. e is the epoch of the stage, e_0 the warm-up.

Source: megvii-research/mdistiller, mdistiller/distillers/ReviewKD.py; dvlab-research/ReviewKD,
    CIFAR-100/model/reviewkd.py

Differences:
    - The student's maps are read after the ReLU, the teacher's before it. The stem is not used.
    - Fusion runs from the pooled vector to the first stage; the fused map g, resized to the teacher's size
      (nearest neighbour), is passed on, and resized to the student's size at the next stage.
    - Published code has the sizes of the maps as constants for each pair of models; here they are those of the maps.
      Published code assumes equal numbers of stages.
    - The published weight differs between pairs of models, from 0.6 to 8.
    - A batch of one image in train mode has no statistics at the pooled vector and is an error in published code;
      here the running statistics are used there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smskd.errors import require_count
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads
from smskd.interfaces.terms import DataInfo, Kind, Method, TermInputs
from smskd.ops.layers import LenientBatchNorm2d
from smskd.ops.levels import LevelModules
from smskd.ops.pairing import paired_preactivations, paired_stages, pooled_vectors
from smskd.ops.precision import full_precision
from smskd.ops.reduction import Reduction, reduced, sample_mean
from smskd.ops.warmup import warmup_factor

POOL_SIZES = (4, 2, 1)


@full_precision
def reviewkd_loss(student: Tensor, teacher: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Hierarchical context loss of one pair of maps: squared differences at several resolutions.

    Chen et al. 2021, arXiv 2104.09044; a level of ``hcl_loss`` of megvii-research/mdistiller.

    Args:
        student: the output of a fusion block, [N, C, H, W].
        teacher: same shape.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        Scalar; [N] with reduction ``none``. For each sample the weighted mean of the mean squared differences of
        the whole maps and of the maps pooled to 4x4, 2x2 and 1x1, as far as these are smaller; weights 1, 1/2, 1/4,
        1/8 in order of use.
    """
    loss = sample_mean((student - teacher).square())
    weight = total = 1.0
    for size in POOL_SIZES:
        if size < min(student.shape[2:]):
            weight /= 2
            total += weight
            difference = F.adaptive_avg_pool2d(student, size) - F.adaptive_avg_pool2d(teacher, size)
            loss = loss + weight * sample_mean(difference.square())
    return reduced(loss / total, reduction)


class FusionBlock(nn.Module):
    """Attention-based fusion of a student's map with the fused map of the deeper levels.

    Args:
        channels: of the student's map.
        mid_channels: of the fused map.
        wanted: of the output: those of the teacher's map.
        fuses: whether there is a deeper level.
    """

    def __init__(self, channels: int, mid_channels: int, wanted: int, fuses: bool) -> None:
        super().__init__()
        self.reduce_conv = nn.Conv2d(channels, mid_channels, 1, bias=False)
        self.reduce_bn = LenientBatchNorm2d(mid_channels)
        self.attention_conv = nn.Conv2d(2 * mid_channels, 2, 1) if fuses else None
        self.out_conv = nn.Conv2d(mid_channels, wanted, 3, padding=1, bias=False)
        self.out_bn = LenientBatchNorm2d(wanted)
        for layer in (self.reduce_conv, self.out_conv):
            nn.init.kaiming_uniform_(layer.weight, a=1)

    def forward(self, x: Tensor, deeper: Tensor | None, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The output [N, wanted, *size], and the fused map [N, mid channels, *size] for the next block."""
        fused: Tensor = self.reduce_bn(self.reduce_conv(x))
        if self.attention_conv is not None and deeper is not None:
            deeper = _resized(deeper, x.shape[2:])
            own_weight, deeper_weight = self.attention_conv(torch.cat([fused, deeper], dim=1)).sigmoid().chunk(2, dim=1)
            fused = fused * own_weight + deeper * deeper_weight
        fused = _resized(fused, size)
        return self.out_bn(self.out_conv(fused)), fused


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    return x if tuple(x.shape[2:]) == tuple(size) else F.interpolate(x, tuple(size), mode="nearest")


class FusionBlocks(LevelModules[FusionBlock]):
    """A fusion block for each level: ``abf0`` of the first stage to that of the pooled vector."""


@dataclass(frozen=True)
class ReviewKD(Method):
    """Knowledge review: fused with its later stages, each stage of the student is fitted to one of the teacher.

    Attributes:
        warmup: epochs of the stage over which the weight of the loss rises linearly; 1: no warm-up.
        max_mid_channels: upper bound of the channels of the fused maps, which have those of the student's pooled
            vector.
        student_preactivations: whether the student's maps are read before their ReLU, too.
    """

    warmup: int = 20
    max_mid_channels: int = 512
    student_preactivations: bool = False

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        require_count(warmup=self.warmup, max_mid_channels=self.max_mid_channels)

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The map of each stage, the teacher's before its ReLU, and the pooled vector."""
        maps = paired_stages(student, teacher, "ReviewKD")
        before_relu = paired_preactivations(student, teacher, "ReviewKD")
        vectors = pooled_vectors(student, teacher, "ReviewKD")
        own = before_relu if self.student_preactivations else maps
        return Reads((*own.student, *vectors.student), (*before_relu.teacher, *vectors.teacher))

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        """A fusion block for each level."""
        assert teacher is not None
        mid_channels = min(self.max_mid_channels, student.shapes[-1][0])
        last = len(student.shapes) - 1
        levels = enumerate(zip(student.shapes, teacher.shapes, strict=True))
        return FusionBlocks(
            "abf", (FusionBlock(s[0], mid_channels, t[0], fuses=level < last) for level, (s, t) in levels)
        )

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``level0``, ``level1``, ...: one for each level, first stage first, [N], with the warm-up factor."""
        assert isinstance(state, FusionBlocks)
        factor = warmup_factor(inputs.batch.progress, self.warmup)
        parts: dict[str, Tensor] = {}
        fused: Tensor | None = None
        for level in reversed(range(len(state))):
            student, teacher = (_as_map(output.features[level]) for output in (inputs.student, inputs.teacher))
            reviewed, fused = state[level](student, fused, teacher.shape[2:])
            parts[f"level{level}"] = factor * reviewkd_loss(reviewed, teacher, "none")
        return dict(reversed(parts.items()))


def _as_map(x: Tensor) -> Tensor:
    return x if x.dim() == 4 else x[:, :, None, None]
