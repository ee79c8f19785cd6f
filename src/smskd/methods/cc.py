r"""Correlation congruence.

Paper: Peng, Jin, Liu, Li, Wu, Liu, Zhou, Zhang: Correlation Congruence for Knowledge Distillation, ICCV 2019

arXiv: 1904.01802

Formula:
    L = \frac{1}{N - 1} \sum_{i=1}^{N-1} \langle d_i, d_{i+1} \rangle,
    d_i = |W_s f^s_i + b_s - W_t f^t_i - b_t|

Taps: the pooled vector that the classifier reads, of both models.

Shapes: student vector [N, D_s], teacher vector [N, D_t]; embeddings and d [N, feature_dim].

Source: HobbitLong/RepDistiller, distiller_zoo/CC.py (Correlation), models/util.py (LinearEmbed)

Differences:
    - The paper compares kernel matrices of all pairs of samples; the published code multiplies the differences of
      neighbouring samples, so that the loss depends on the order of the batch.
    - Both embeddings are trained, the teacher's too.
    - A batch of one sample has no pair: its loss is zero here, not NaN.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from smskd.errors import require_count
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads, TappedOutputs
from smskd.interfaces.terms import DataInfo, Kind, Method
from smskd.ops.layers import flat, linear_embedding
from smskd.ops.pairing import pooled_vectors
from smskd.ops.precision import full_precision


@full_precision
def cc_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean product of the absolute differences of neighbouring samples.

    Peng et al. 2019, arXiv 1904.01802; equal to ``Correlation`` of HobbitLong/RepDistiller.

    Args:
        student: [N, D] embedded features, in an order that matters.
        teacher: [N, D] likewise.

    Returns:
        Scalar, averaged over the N - 1 pairs of neighbours.
    """
    difference = (student - teacher).abs()
    return (difference[:-1] * difference[1:]).sum() / max(1, len(difference) - 1)


@dataclass(frozen=True)
class CC(Method):
    """Correlation congruence: the differences of student and teacher shall not be correlated between samples.

    Attributes:
        feature_dim: width of both embeddings.
    """

    feature_dim: int = 128

    kind: ClassVar[Kind] = "relation"
    published_weight: ClassVar[float] = 0.02
    order_matters: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_count(feature_dim=self.feature_dim)

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        """The pooled vectors of both models."""
        return pooled_vectors(student, teacher, "CC")

    def build(self, student: ModelInfo, teacher: ModelInfo, data: DataInfo) -> nn.Module:
        """The two embeddings."""
        return nn.ModuleDict(
            {
                "embed_student": linear_embedding(student.shapes[0], self.feature_dim),
                "embed_teacher": linear_embedding(teacher.shapes[0], self.feature_dim),
            }
        )

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        """``correlation``: the mean product."""
        own = state.get_submodule("embed_student")(flat(student.features[0]))
        other = state.get_submodule("embed_teacher")(flat(teacher.features[0]))
        return {"correlation": cc_loss(own, other)}
