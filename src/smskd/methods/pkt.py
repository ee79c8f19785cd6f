r"""Probabilistic knowledge transfer.

Paper: Passalis, Tefas: Learning Deep Representations with Probabilistic Knowledge Transfer, ECCV 2018

arXiv: 1803.10837

Formula:
    L = \frac{1}{N^2} \sum_{i,j} p^t_{ij} \log \frac{p^t_{ij} + 10^{-7}}{p^s_{ij} + 10^{-7}},
    p_{ij} = k_{ij} / \sum_m k_{im},
    k_{ij} = (\langle u_i, u_j \rangle + 1) / 2,
    u_i = f_i / (\|f_i\|_2 + 10^{-7})

Reads: the pooled vectors of both models, which their classifiers read.

Shapes: features [N, ...], flattened for each sample; all but N may differ.

Source: HobbitLong/RepDistiller, distiller_zoo/PKT.py

Differences:
    - The paper sums the divergences of all samples; the published code averages over all N^2 entries, which the
      large published weight compensates.
    - The similarity of a sample with itself is part of the distributions; the paper leaves it out.
    - A sample whose feature is zero has zero gradient here, and NaN in published code.
    - In float32 the loss is accurate to about 2e-5 only: it is a small difference of logarithms.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from smskd.interfaces.features import FeatureLayout, Reads
from smskd.interfaces.terms import Kind, Method, TermInputs
from smskd.ops.geometry import safe_normalize
from smskd.ops.layers import flat
from smskd.ops.pairing import pooled_vectors
from smskd.ops.precision import full_precision

EPSILON = 1e-7


@full_precision
def pkt_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """KL divergence of the student's distribution of cosine similarities from the teacher's.

    Passalis and Tefas 2018, arXiv 1803.10837; equal to ``PKT`` of HobbitLong/RepDistiller.

    Args:
        student: [N, ...].
        teacher: [N, ...], all but N may differ.

    Returns:
        Scalar, averaged over all N^2 pairs of samples.
    """
    target, prediction = _similarity_distribution(teacher), _similarity_distribution(student)
    return (target * ((target + EPSILON) / (prediction + EPSILON)).log()).mean()


def _similarity_distribution(x: Tensor) -> Tensor:
    unit = safe_normalize(flat(x), offset=EPSILON)
    # For opposite vectors rounding may make the similarity slightly negative, and the logarithm NaN.
    similarity = ((unit @ unit.T + 1) / 2).clamp_min(0)
    return similarity / similarity.sum(dim=1, keepdim=True)


@dataclass(frozen=True)
class PKT(Method):
    """Probabilistic knowledge transfer: the similarity distributions of the samples of a batch are matched."""

    kind: ClassVar[Kind] = "relation"
    published_weight: ClassVar[float] = 30000.0
    relates_samples: ClassVar[bool] = True

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The pooled vectors of both models."""
        return pooled_vectors(student, teacher, "PKT")

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``divergence``: between the similarity distributions, scalar."""
        return {"divergence": pkt_loss(inputs.student.features[0], inputs.teacher.features[0])}
