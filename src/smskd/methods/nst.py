r"""Neuron selectivity transfer.

Paper: Huang, Wang: Like What You Like: Knowledge Distill via Neuron Selectivity Transfer, 2017

arXiv: 1707.01219

Formula:
    L = \sum_{\ell} \mathrm{mean}_{i,c,c'} \langle \hat t_{ic}, \hat t_{ic'} \rangle^2
        + \mathrm{mean}_{i,c,c'} \langle \hat s_{ic}, \hat s_{ic'} \rangle^2
        - 2 \, \mathrm{mean}_{i,c,c'} \langle \hat s_{ic}, \hat t_{ic'} \rangle^2,
    \hat x_{ic} = x_{ic} / \max(\|x_{ic}\|, 10^{-12})

Taps: the map that each stage puts out, of both models.

Shapes: maps [N, C, H, W]; x_ic is the map of channel c of sample i, H W positions. Channel counts may differ.

Source: HobbitLong/RepDistiller, distiller_zoo/NST.py (NSTLoss)

Differences:
    - The kernel is the polynomial one of degree 2 without offset, the paper's best.
    - The teacher's own term, a constant, is part of the published loss and of this one.
    - If the sizes differ, the larger map is averaged down to the smaller before anything else.
    - A channel that is zero everywhere has gradient zero here.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, Reads, TappedOutputs
from smskd.interfaces.terms import Kind, Method
from smskd.ops.geometry import pool_to_smaller, safe_normalize
from smskd.ops.pairing import paired_stages
from smskd.ops.precision import full_precision


@full_precision
def nst_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Maximum mean discrepancy of two models' channel maps at one level, with a squared inner product as kernel.

    Huang and Wang 2017, arXiv 1707.01219; equal to ``NSTLoss`` of HobbitLong/RepDistiller.

    Args:
        student: [N, channels, height, width].
        teacher: [N, channels, height, width]; both may differ but for N.

    Returns:
        Scalar.
    """
    student, teacher = pool_to_smaller(student, teacher)
    own, other = (safe_normalize(x.flatten(2), dim=2) for x in (student, teacher))
    return _mean_kernel(other, other) + _mean_kernel(own, own) - 2 * _mean_kernel(own, other)


def _mean_kernel(x: Tensor, y: Tensor) -> Tensor:
    """Mean of the squared inner products of all rows of x [N, A, P] and y [N, B, P], sample by sample."""
    (samples, rows, positions), columns = x.shape, y.shape[1]
    if rows * columns <= positions**2:
        total = (x @ y.transpose(1, 2)).square().sum()
    else:
        # sum over a, b of <x_a, y_b>^2 is the inner product of x^T x and y^T y, matrices of P x P instead of A x B.
        total = ((x.transpose(1, 2) @ x) * (y.transpose(1, 2) @ y)).sum()
    return total / (samples * rows * columns)


@dataclass(frozen=True)
class NST(Method):
    """Neuron selectivity transfer: the student's channels respond to the same places as the teacher's."""

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 50.0

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        """The map of each stage of both models."""
        return paired_stages(student, teacher, "NST")

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        """``level0``, ``level1``, ...: the discrepancy of each stage."""
        pairs = zip(student.features, teacher.features, strict=True)
        return {f"level{level}": nst_loss(own, other) for level, (own, other) in enumerate(pairs)}
