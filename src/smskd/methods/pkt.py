r"""Probabilistic knowledge transfer.

Paper: Passalis, Tefas: Learning Deep Representations with Probabilistic Knowledge Transfer, ECCV 2018

arXiv: 1803.10837

Formula:
    L = \frac{1}{N^2} \sum_{i,j} p^t_{ij} \log \frac{p^t_{ij} + 10^{-7}}{p^s_{ij} + 10^{-7}},
    p_{ij} = k_{ij} / \sum_m k_{im},
    k_{ij} = (\langle u_i, u_j \rangle + 1) / 2,
    u_i = f_i / (\|f_i\|_2 + 10^{-7})

Taps: the pooled vector that the classifier reads, of both models.

Shapes: features [N, ...], flattened for each sample; both may differ in all but N.

Source: HobbitLong/RepDistiller, distiller_zoo/PKT.py

Differences:
    - The paper sums the divergences of all samples; the published code averages over all N^2 entries, which
      the large published weight makes up for.
    - The similarity of a sample with itself is kept in the distributions; the paper leaves it out.
    - A sample whose feature is zero has gradient zero here, NaN in published code.
    - In float32 the loss is exact to about 2e-5 only: it is a small difference of logarithms.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, Reads, TappedOutputs
from smskd.interfaces.terms import Kind, Method
from smskd.ops.geometry import safe_normalize
from smskd.ops.layers import flat
from smskd.ops.pairing import pooled_vectors
from smskd.ops.precision import full_precision

EPSILON = 1e-7


@full_precision
def pkt_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Divergence of the student's distribution of cosine similarities from the teacher's.

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
    # Opposite vectors: rounding may bring the similarity a little below zero, and the logarithm to NaN.
    similarity = ((unit @ unit.T + 1) / 2).clamp_min(0)
    return similarity / similarity.sum(dim=1, keepdim=True)


@dataclass(frozen=True)
class PKT(Method):
    """Probabilistic knowledge transfer: the probabilities of being neighbours within a batch are kept."""

    kind: ClassVar[Kind] = "relation"
    published_weight: ClassVar[float] = 30000.0

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        """The pooled vectors of both models."""
        return pooled_vectors(student, teacher, "PKT")

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        """``divergence``: of the similarity distributions."""
        return {"divergence": pkt_loss(student.features[0], teacher.features[0])}
