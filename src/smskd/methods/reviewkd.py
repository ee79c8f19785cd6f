r"""Knowledge review.

Paper: Chen, Liu, Zhao, Jia: Distilling Knowledge via Knowledge Review, CVPR 2021

arXiv: 2104.09044

Formula:
    L = \min(e / E, 1) \sum_l \frac{1}{\sum_k w_{lk}} \sum_k w_{lk} \, \mathrm{MSE}(p_k(o_l), p_k(f^t_l)),
    o_l = \mathrm{BN}(\mathrm{Conv}_{3 \times 3}(g_l)),
    g_l = \alpha_l \, \mathrm{BN}(\mathrm{Conv}_{1 \times 1}(f^s_l)) + \beta_l \, g_{l+1},
    (\alpha_l, \beta_l) = \sigma(\mathrm{Conv}_{1 \times 1}([\mathrm{BN}(\mathrm{Conv}_{1 \times 1}(f^s_l)), g_{l+1}])),
    p_k: \text{the whole map, then averages over } 4 \times 4, 2 \times 2, 1 \times 1 \text{ fields, as far as they
        are smaller}; w = 1, 1/2, 1/4, 1/8

Taps: of the student the map of each stage and the pooled vector; of the teacher the same, maps before their
    ReLU. The last stages are paired where one has more.

Shapes: maps [N, C, H, W], pooled vectors [N, C] as 1x1 maps. e is the epoch of the stage, E the warm-up.

Source: megvii-research/mdistiller, mdistiller/distillers/ReviewKD.py; dvlab-research/ReviewKD,
    CIFAR-100/model/reviewkd.py

Differences:
    - The student's maps are read after the ReLU, the teacher's before it. The stem is not used.
    - Fusion runs from the pooled vector to the first stage; the fused map g, resized to the teacher's size
      (nearest neighbour), is handed on, and resized to the student's size at the next stage.
    - Published code has the sizes of the maps as constants for each pair of models; here they are those of
      the maps. Published code supposes equally many stages.
    - The weight differs from pair to pair in the publications, from 0.6 to 8.
    - A batch of one picture in train mode has no statistics at the pooled vector and is an error in published
      code; here the running ones are taken there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smskd.errors import require_count
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads, TappedOutputs
from smskd.interfaces.terms import DataInfo, Kind, Method
from smskd.ops.layers import LenientBatchNorm2d
from smskd.ops.pairing import paired_stages, pooled_vectors
from smskd.ops.precision import full_precision

POOL_SIZES = (4, 2, 1)


@full_precision
def reviewkd_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Hierarchical context loss of one pair of maps: squared differences at several resolutions.

    Chen et al. 2021, arXiv 2104.09044; a level of ``hcl_loss`` of megvii-research/mdistiller.

    Args:
        student: the output of a fusion block, [N, C, H, W].
        teacher: same shape.

    Returns:
        Scalar: the weighted mean of the mean squared differences of the whole maps and of the maps pooled to
        4x4, 2x2 and 1x1, as far as these are smaller; weights 1, 1/2, 1/4, 1/8 in order of use.
    """
    loss = (student - teacher).square().mean()
    weight = total = 1.0
    for size in POOL_SIZES:
        if size < min(student.shape[2:]):
            weight /= 2
            total += weight
            difference = F.adaptive_avg_pool2d(student, size) - F.adaptive_avg_pool2d(teacher, size)
            loss = loss + weight * difference.square().mean()
    return loss / total


class FusionBlock(nn.Module):
    """Attention-based fusion of a student's map with what came of the deeper ones.

    Args:
        channels: of the student's map.
        mid_channels: of the fused map.
        wanted: of the output, the teacher's.
        fuses: whether there is a deeper map.
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


@dataclass(frozen=True)
class ReviewKD(Method):
    """Knowledge review: the student's early stages learn from the teacher's late ones too, fused on the way back.

    Attributes:
        warmup: epochs of the stage over which the loss grows to its full weight; 1: none.
        max_mid_channels: of the fused maps, which have the channels of the student's pooled vector up to this.
        student_preactivations: whether the student's maps too are read before their ReLU.
    """

    warmup: int = 20
    max_mid_channels: int = 512
    student_preactivations: bool = False

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        require_count(warmup=self.warmup, max_mid_channels=self.max_mid_channels)

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        """The map of each stage, the teacher's before its ReLU, and the pooled vector."""
        maps = paired_stages(student, teacher, "ReviewKD")
        vectors = pooled_vectors(student, teacher, "ReviewKD")
        before = student.before_relu if self.student_preactivations else str
        return Reads(
            (*map(before, maps.student), *vectors.student),
            (*map(teacher.before_relu, maps.teacher), *vectors.teacher),
        )

    def build(self, student: ModelInfo, teacher: ModelInfo, data: DataInfo) -> nn.Module:
        """A fusion block a level: ``abf0`` of the first stage to that of the pooled vector."""
        mid_channels = min(self.max_mid_channels, student.shapes[-1][0])
        last = len(student.shapes) - 1
        levels = enumerate(zip(student.shapes, teacher.shapes, strict=True))
        return nn.ModuleDict(
            {f"abf{level}": FusionBlock(s[0], mid_channels, t[0], fuses=level < last) for level, (s, t) in levels}
        )

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        """``level0``, ``level1``, ...: one a level, first stage first, with the factor of the warm-up."""
        warmth = min(batch.progress.epoch / self.warmup, 1.0)
        parts: dict[str, Tensor] = {}
        fused: Tensor | None = None
        for level in reversed(range(len(student.features))):
            own, target = (_as_map(output.features[level]) for output in (student, teacher))
            block = cast(FusionBlock, state.get_submodule(f"abf{level}"))
            reviewed, fused = block(own, fused, target.shape[2:])
            parts[f"level{level}"] = warmth * reviewkd_loss(reviewed, target)
        return dict(reversed(parts.items()))


def _as_map(x: Tensor) -> Tensor:
    return x if x.dim() == 4 else x[:, :, None, None]
