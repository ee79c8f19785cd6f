r"""Neuron selectivity transfer.

Paper: Huang, Wang: Like What You Like: Knowledge Distill via Neuron Selectivity Transfer, 2017

arXiv: 1707.01219

Formula:
    L = \sum_l \mathrm{mean}_{i,c,c'} \langle u^t_{lic}, u^t_{lic'} \rangle^2
        + \mathrm{mean}_{i,c,c'} \langle u^s_{lic}, u^s_{lic'} \rangle^2
        - 2 \, \mathrm{mean}_{i,c,c'} \langle u^s_{lic}, u^t_{lic'} \rangle^2,
    u_{lic} = f_{lic} / \max(\|f_{lic}\|_2, 10^{-12})

Reads: the map of each stage of both models, the last ones paired where one has more; of networks that read tokens the
    hidden states of their layers, evenly spaced in the deeper network.

Shapes: maps [N, C, H, W]; f_lic is the map of channel c of sample i at level l, a vector of H W positions. Channel
    counts may differ.

Source: HobbitLong/RepDistiller, distiller_zoo/NST.py (NSTLoss)

Differences:
    - The kernel is the polynomial one of degree 2 without offset, the best one of the paper.
    - The term of the teacher alone, a constant, is part of the published loss and of this one.
    - Of two maps that differ in size the larger is average-pooled to the smaller first.
    - Of hidden states the tokens are the positions; padding is zero.
    - A channel that is zero everywhere has zero gradient here.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from smskd.interfaces.features import FeatureLayout, Reads
from smskd.interfaces.terms import Kind, Method, TermInputs
from smskd.ops.geometry import pool_to_smaller, safe_normalize
from smskd.ops.pairing import paired_levels
from smskd.ops.precision import full_precision
from smskd.ops.reduction import Reduction, reduced
from smskd.ops.tokens import as_map


@full_precision
def nst_loss(student: Tensor, teacher: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Maximum mean discrepancy between the channel maps of two models at one level; its kernel is polynomial.

    Huang and Wang 2017, arXiv 1707.01219; equal to ``NSTLoss`` of HobbitLong/RepDistiller.

    Args:
        student: [N, channels, height, width].
        teacher: [N, channels, height, width]; all but N may differ.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        Scalar; [N] with reduction ``none``.
    """
    student, teacher = pool_to_smaller(student, teacher)
    s, t = (safe_normalize(x.flatten(2), dim=2) for x in (student, teacher))
    return reduced(_mean_kernel(t, t) + _mean_kernel(s, s) - 2 * _mean_kernel(s, t), reduction)


def _mean_kernel(x: Tensor, y: Tensor) -> Tensor:
    """[N]: mean of the squared inner products of all rows of x [N, A, P] and y [N, B, P], for each sample."""
    (_, rows, positions), columns = x.shape, y.shape[1]
    if rows * columns <= positions**2:
        total = (x @ y.transpose(1, 2)).square().sum((1, 2))
    else:
        # sum over a, b of <x_a, y_b>^2 is the inner product of x^T x and y^T y, matrices of P x P instead of A x B.
        total = ((x.transpose(1, 2) @ x) * (y.transpose(1, 2) @ y)).sum((1, 2))
    return total / (rows * columns)


@dataclass(frozen=True)
class NST(Method):
    """Neuron selectivity transfer: the distribution of the student's channel maps is matched to the teacher's."""

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 50.0

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The map of each stage of both models, or the hidden states of their layers."""
        return paired_levels(student, teacher, "NST")

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``level0``, ``level1``, ...: the discrepancy at each stage, [N]."""
        pairs = enumerate(zip(inputs.student.features, inputs.teacher.features, strict=True))
        mask = inputs.batch.token_mask
        maps = ((level, [as_map(x, mask) if x.ndim == 3 else x for x in pair]) for level, pair in pairs)
        return {f"level{level}": nst_loss(s, t, "none") for level, (s, t) in maps}
