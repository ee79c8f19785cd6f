r"""Relational knowledge distillation.

Paper: Park, Kim, Lu, Cho: Relational Knowledge Distillation, CVPR 2019

arXiv: 1904.05068

Formula:
    L = w_d \frac{1}{N^2} \sum_{i,j} h(d^s_{ij} - d^t_{ij})
      + w_a \frac{1}{N^3} \sum_{i,j,k} h(\cos^s_{ijk} - \cos^t_{ijk}),
    d_{ij} = \delta_{ij} / \mathrm{mean}_{\delta > 0} \delta,
    \delta_{ij} = \sqrt{\max(\|f_i - f_j\|^2, 10^{-12})} \; (i \ne j), \; \delta_{ii} = 0,
    \cos_{ijk} = \langle e_{ij}, e_{ik} \rangle,
    e_{ij} = (f_j - f_i) / \max(\|f_j - f_i\|, 10^{-12}),
    h(x) = x^2/2 \; (|x| < 1), \; |x| - 1/2 \; \text{otherwise}

Reads: the pooled vectors of both models, which their classifiers read.

Shapes: features [N, ...], flattened for each sample; all but N may differ.

Source: HobbitLong/RepDistiller, distiller_zoo/RKD.py (RKDLoss)

Differences:
    - The means run over all N^2 and N^3 entries, including those of a sample with itself; in the paper over tuples
      of different samples.
    - The mean distance of the student carries gradient.
    - Squared distances are computed from differences here and from the Gram matrix in published code, where the
      distance of equal samples is a rounding error.
    - Two equal samples have no direction: their gradient in the angle term is zero here, and 1e10 or more in
      published code. The loss of a batch of one sample is zero here, not NaN.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from smskd.errors import UserError, require_between
from smskd.interfaces.features import FeatureLayout, Reads
from smskd.interfaces.terms import Kind, Method, TermInputs
from smskd.ops.geometry import distances_from, pairwise_differences, safe_sqrt
from smskd.ops.layers import flat
from smskd.ops.pairing import pooled_vectors
from smskd.ops.precision import full_precision


@full_precision
def rkd_loss(student: Tensor, teacher: Tensor, distance_weight: float, angle_weight: float) -> tuple[Tensor, Tensor]:
    """The weighted distance-wise and angle-wise terms; the loss is their sum.

    Park et al. 2019, arXiv 1904.05068; equal to ``RKDLoss`` of HobbitLong/RepDistiller.

    Args:
        student: [N, ...].
        teacher: [N, ...], all but N may differ.
        distance_weight: weight of the distance-wise term, averaged over N^2 pairs.
        angle_weight: weight of the angle-wise term, averaged over N^3 triples.

    Returns:
        The distance-wise and the angle-wise term, scalars.
    """
    student_pairs, teacher_pairs = pairwise_differences(flat(student)), pairwise_differences(flat(teacher))
    distance = F.smooth_l1_loss(_scaled_distances(student_pairs[1]), _scaled_distances(teacher_pairs[1]))
    if angle_weight == 0:
        return distance_weight * distance, distance.new_zeros(())
    angle = F.smooth_l1_loss(_angles(*student_pairs), _angles(*teacher_pairs))
    return distance_weight * distance, angle_weight * angle


def _scaled_distances(square: Tensor) -> Tensor:
    """Distances divided by their mean over pairs of different samples; none of these is below 1e-6."""
    distances = distances_from(square)
    pairs = max(1, distances.numel() - len(distances))
    mean = distances.sum() / pairs
    return distances / mean.clamp_min(1e-12)


def _angles(differences: Tensor, square: Tensor) -> Tensor:
    """Cosines [N, N, N] of the angle at i between j and k; zero where j or k coincides with i.

    The norms divide the N^3 products: normalising the N^2 differences would need another pass over the widest tensor.
    """
    norm = safe_sqrt(square, 1e-24)
    inverse = (square > 1e-24) / norm
    products = differences @ differences.transpose(1, 2)
    return products * inverse.unsqueeze(2) * inverse.unsqueeze(1)


@dataclass(frozen=True)
class RKD(Method):
    """Relational knowledge distillation: distances and angles between samples are matched.

    Attributes:
        distance_weight: weight of the distances between pairs of samples.
        angle_weight: weight of the angles in triples of samples.
    """

    distance_weight: float = 25.0
    angle_weight: float = 50.0

    kind: ClassVar[Kind] = "relation"
    published_weight: ClassVar[float] = 1.0
    relates_samples: ClassVar[bool] = True

    def __post_init__(self) -> None:
        weights = {"distance_weight": self.distance_weight, "angle_weight": self.angle_weight}
        require_between(0, float("inf"), **weights)
        if not any(weights.values()):
            raise UserError("distance_weight and angle_weight must not both be 0")

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The pooled vectors of both models."""
        return pooled_vectors(student, teacher, "RKD")

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``distance`` and ``angle``, scalars, each with its weight."""
        features = inputs.student.features[0], inputs.teacher.features[0]
        distance, angle = rkd_loss(*features, self.distance_weight, self.angle_weight)
        return {"distance": distance, "angle": angle}
