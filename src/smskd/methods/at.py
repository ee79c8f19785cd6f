r"""Attention transfer.

Paper: Zagoruyko, Komodakis: Paying More Attention to Attention, ICLR 2017

arXiv: 1612.03928

Formula:
    L = \sum_l \frac{1}{N H_l W_l} \sum_{i,h,w} (a^s_{li} - a^t_{li})_{hw}^2,
    a = q / \max(\|q\|_2, 10^{-12}),
    q_{hw} = \frac{1}{C} \sum_c f_{chw}^p

Reads: the map of each stage of both models, the last ones paired where one has more; of networks that read tokens the
    hidden states of their layers, evenly spaced in the deeper network.

Shapes: maps [N, C, H, W]; channels and sizes may differ. Hidden states [N, L, C]; channels may differ.

Source: HobbitLong/RepDistiller, distiller_zoo/AT.py (Attention)

Differences:
    - The paper takes the norm of the difference of the two attention maps, the published code the mean of the
      squared difference over samples and positions; levels are summed.
    - The power is taken of the feature, not of its absolute value, and channels are averaged, not summed.
    - Of two maps that differ in size the larger is average-pooled to the smaller, before the power is taken.
    - Of hidden states the tokens are the positions; padding has no attention, and the mean leaves it out.
    - A map without any activation has no attention: its gradient is zero here.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from smskd.errors import require_count
from smskd.interfaces.features import FeatureLayout, Reads
from smskd.interfaces.terms import Kind, Method, TermInputs
from smskd.ops.geometry import attention_map, pool_to_smaller
from smskd.ops.pairing import paired_levels
from smskd.ops.precision import full_precision
from smskd.ops.reduction import Reduction, reduced, sample_mean
from smskd.ops.tokens import as_map, token_mean


@full_precision
def at_loss(student: Tensor, teacher: Tensor, power: int, reduction: Reduction = "mean") -> Tensor:
    """Mean squared difference between the normalised attention maps of one pair of feature maps.

    Zagoruyko and Komodakis 2017, arXiv 1612.03928; equal to ``Attention`` of HobbitLong/RepDistiller.

    Args:
        student: [N, channels, height, width].
        teacher: [N, channels, height, width], all but N may differ; the larger map is pooled.
        power: exponent of the activations, 1 or more.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        Scalar; [N] with reduction ``none``. Each sample is averaged over the positions.
    """
    student, teacher = pool_to_smaller(student, teacher)
    difference = attention_map(student, power) - attention_map(teacher, power)
    return reduced(sample_mean(difference.square()), reduction)


@full_precision
def at_token_loss(
    student: Tensor, teacher: Tensor, power: int, mask: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """:func:`at_loss` of hidden states: the attention over the tokens of each sample, without padding.

    Args:
        student: [N, L, channels].
        teacher: [N, L, channels]; the channels may differ.
        power: exponent of the activations, 1 or more.
        mask: bool [N, L], where there is a token; None: everywhere.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        Scalar; [N] with reduction ``none``. Each sample is averaged over its tokens.
    """
    difference = attention_map(as_map(student, mask), power) - attention_map(as_map(teacher, mask), power)
    return reduced(token_mean(difference.square(), mask), reduction)


@dataclass(frozen=True)
class AT(Method):
    """Attention transfer: the student's spatial attention maps are fitted to the teacher's.

    Attributes:
        power: exponent of the activations before they are averaged over the channels.
    """

    power: int = 2

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 1000.0

    def __post_init__(self) -> None:
        require_count(power=self.power)

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The map of each stage of both models, or the hidden states of their layers."""
        return paired_levels(student, teacher, "AT")

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``level0``, ``level1``, ...: one for each pair of maps, [N]."""
        pairs = enumerate(zip(inputs.student.features, inputs.teacher.features, strict=True))
        mask = inputs.batch.token_mask
        return {
            f"level{level}": at_token_loss(s, t, self.power, mask, "none")
            if t.ndim == 3
            else at_loss(s, t, self.power, "none")
            for level, (s, t) in pairs
        }
