r"""Attention transfer.

Paper: Zagoruyko, Komodakis: Paying More Attention to Attention, ICLR 2017

arXiv: 1612.03928

Formula:
    L = \sum_l \frac{1}{N H_l W_l} \sum_{i,h,w} (a^s_{li} - a^t_{li})_{hw}^2,
    a = q / \max(\|q\|_2, 10^{-12}),
    q_{hw} = \frac{1}{C} \sum_c f_{chw}^p

Taps: the map of each stage of both models, the last ones paired where one has more.

Shapes: maps [N, C, H, W]; channels and sizes may differ.

Source: HobbitLong/RepDistiller, distiller_zoo/AT.py (Attention)

Differences:
    - The paper takes the norm of the difference of the two attention maps and the published code the mean of
      the squared difference, over samples and positions; levels are summed.
    - The power is of the feature and not of its absolute value, and channels are averaged and not summed.
    - Of two maps that differ in size the larger is average-pooled to the smaller, before the power.
    - A map without any activation has no attention: its gradient is zero here.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from smskd.errors import require_count
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, Reads, TappedOutputs
from smskd.interfaces.terms import Kind, Method
from smskd.ops.geometry import attention_map, pool_to_smaller
from smskd.ops.pairing import paired_stages
from smskd.ops.precision import full_precision


@full_precision
def at_loss(student: Tensor, teacher: Tensor, power: int) -> Tensor:
    """Mean squared difference of two normalised attention maps, for one pair of feature maps.

    Zagoruyko and Komodakis 2017, arXiv 1612.03928; equal to ``Attention`` of HobbitLong/RepDistiller.

    Args:
        student: [N, channels, height, width].
        teacher: [N, channels, height, width], all but N may differ; the larger map is pooled.
        power: exponent of the activations, 1 or more.

    Returns:
        Scalar, averaged over samples and positions.
    """
    student, teacher = pool_to_smaller(student, teacher)
    return (attention_map(student, power) - attention_map(teacher, power)).square().mean()


@dataclass(frozen=True)
class AT(Method):
    """Attention transfer: the student looks at the places of the picture that the teacher looks at.

    Attributes:
        power: exponent of the activations before they are averaged over the channels.
    """

    power: int = 2

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 1000.0

    def __post_init__(self) -> None:
        require_count(power=self.power)

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        """The map of each stage of both models."""
        return paired_stages(student, teacher, "AT")

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        """``level0``, ``level1``, ...: one a pair of maps."""
        pairs = enumerate(zip(student.features, teacher.features, strict=True))
        return {f"level{level}": at_loss(s, t, self.power) for level, (s, t) in pairs}
