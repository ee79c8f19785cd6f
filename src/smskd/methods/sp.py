r"""Similarity-preserving distillation.

Paper: Tung, Mori: Similarity-Preserving Knowledge Distillation, ICCV 2019

arXiv: 1907.09682

Formula:
    L = \frac{1}{N^2} \sum_{i,j} (g^t_{ij} - g^s_{ij})^2,
    g_{ij} = G_{ij} / \max(\|G_{i\cdot}\|_2, 10^{-12}),
    G_{ij} = \langle f_i, f_j \rangle

Reads: the last map before pooling of both models; of networks that read tokens the hidden states of the last layers.

Shapes: features [N, ...], flattened for each sample; all but N may differ.

Source: HobbitLong/RepDistiller, distiller_zoo/SP.py (Similarity)

Differences:
    - The paper allows several pairs of layers; the published code takes the last map alone.
    - Hidden states are compared token by token; padding is zero.
    - A sample whose feature is zero has no similarities: its gradient is zero here, and up to 1e11 in published
      code.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from smskd.interfaces.features import FeatureLayout, Reads
from smskd.interfaces.terms import Kind, Method, TermInputs
from smskd.ops.geometry import safe_normalize
from smskd.ops.layers import flat
from smskd.ops.pairing import last_levels
from smskd.ops.precision import full_precision
from smskd.ops.tokens import without_padding


@full_precision
def sp_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared difference between the similarity matrices of a batch, for one pair of features.

    Tung and Mori 2019, arXiv 1907.09682; equal to ``Similarity`` of HobbitLong/RepDistiller.

    Args:
        student: [N, ...].
        teacher: [N, ...], all but N may differ.

    Returns:
        Scalar, the sum over all pairs of samples divided by N^2.
    """
    return (_similarities(teacher) - _similarities(student)).square().mean()


def _similarities(x: Tensor) -> Tensor:
    rows = flat(x)
    return safe_normalize(rows @ rows.T)


@dataclass(frozen=True)
class SP(Method):
    """Similarity-preserving distillation: the similarities between the samples of a batch are matched."""

    kind: ClassVar[Kind] = "relation"
    published_weight: ClassVar[float] = 3000.0
    relates_samples: ClassVar[bool] = True

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The last map before pooling of both models, or the hidden states of their last layers."""
        return last_levels(student, teacher, "SP")

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``level0``: the difference of the similarities, scalar; further levels where further features are given."""
        pairs = enumerate(zip(inputs.student.features, inputs.teacher.features, strict=True))
        mask = inputs.batch.token_mask
        levels = ((level, [without_padding(x, mask) if x.ndim == 3 else x for x in pair]) for level, pair in pairs)
        return {f"level{level}": sp_loss(s, t) for level, (s, t) in levels}
