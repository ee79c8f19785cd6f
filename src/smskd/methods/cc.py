r"""Correlation congruence.

Paper: Peng, Jin, Liu, Li, Wu, Liu, Zhou, Zhang: Correlation Congruence for Knowledge Distillation, ICCV 2019

arXiv: 1904.01802

Formula:
    L = \frac{1}{N - 1} \sum_{i=1}^{N-1} \langle d_i, d_{i+1} \rangle,
    d_i = |W^s f^s_i + b^s - W^t f^t_i - b^t|

Reads: the pooled vectors of both models, which their classifiers read.

Shapes: student vector [N, D^s], teacher vector [N, D^t]; embeddings and d [N, feature_dim].

Source: HobbitLong/RepDistiller, distiller_zoo/CC.py (Correlation), models/util.py (LinearEmbed)

Differences:
    - The paper compares kernel matrices of all pairs of samples; the published code multiplies the differences of
      neighbouring samples, so that the loss depends on the order of the samples in the batch.
    - Both embeddings are trained, the teacher's too.
    - A batch of one sample has no pair: its loss is zero here, not NaN.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from smskd.errors import require_count
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads, Shape
from smskd.interfaces.terms import DataInfo, Kind, Method, TermInputs
from smskd.ops.layers import flat, linear_embedding
from smskd.ops.pairing import pooled_vectors
from smskd.ops.precision import full_precision


@full_precision
def cc_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean product of the absolute differences of neighbouring samples.

    Peng et al. 2019, arXiv 1904.01802; equal to ``Correlation`` of HobbitLong/RepDistiller.

    Args:
        student: [N, D] embedded features; the order of the samples matters.
        teacher: [N, D], likewise.

    Returns:
        Scalar, averaged over the N - 1 pairs of neighbours.
    """
    difference = (student - teacher).abs()
    return (difference[:-1] * difference[1:]).sum() / max(1, len(difference) - 1)


class Embeddings(nn.Module):
    """The trained linear embeddings.

    Args:
        student: shape of the student's feature, without N.
        teacher: shape of the teacher's feature.
        width: of both embeddings.
    """

    def __init__(self, student: Shape, teacher: Shape, width: int) -> None:
        super().__init__()
        self.embed_student = linear_embedding(student, width)
        self.embed_teacher = linear_embedding(teacher, width)


@dataclass(frozen=True)
class CC(Method):
    """Correlation congruence: the differences between student and teacher are decorrelated between samples.

    Attributes:
        feature_dim: width of both embeddings.
    """

    feature_dim: int = 128

    kind: ClassVar[Kind] = "relation"
    published_weight: ClassVar[float] = 0.02
    order_matters: ClassVar[bool] = True
    relates_samples: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_count(feature_dim=self.feature_dim)

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The pooled vectors of both models."""
        return pooled_vectors(student, teacher, "CC")

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        """The two embeddings."""
        assert teacher is not None
        return Embeddings(student.shapes[0], teacher.shapes[0], self.feature_dim)

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``correlation``: the mean product, scalar."""
        assert isinstance(state, Embeddings)
        student = state.embed_student(flat(inputs.student.features[0]))
        teacher = state.embed_teacher(flat(inputs.teacher.features[0]))
        return {"correlation": cc_loss(student, teacher)}
