r"""Knowledge distillation.

Paper: Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, NIPS Deep Learning Workshop 2014

arXiv: 1503.02531

Formula:
    L = \frac{T^2}{N} \sum_{i=1}^{N} \sum_{c=1}^{C} p^t_{ic} (\log p^t_{ic} - \log p^s_{ic}),
    p_{i} = \mathrm{softmax}(z_i / T)

Reads: the logits of both models.

Shapes: student and teacher logits [N, C].

Source: HobbitLong/RepDistiller, distiller_zoo/KD.py (DistillKL)

Differences:
    - The paper leaves temperature and weights open, the weight of the hard labels "considerably lower"; the
      published experiments use T = 4 with weights 0.9 (this loss) and 0.1 (cross-entropy).
    - The divergence is summed over the classes and averaged over the batch only.
    - No gradient reaches the teacher.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from smskd.errors import require_positive
from smskd.interfaces.features import LOGITS, FeatureLayout, Reads
from smskd.interfaces.terms import Kind, Method, TermInputs
from smskd.ops.divergences import softened_kl
from smskd.ops.reduction import Reduction


def kd_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float, reduction: Reduction = "mean"
) -> Tensor:
    """KL divergence of the student's softened predictions from the teacher's, times T^2.

    Hinton et al. 2015, arXiv 1503.02531; equal to ``DistillKL`` of HobbitLong/RepDistiller.

    Args:
        student_logits: [N, classes].
        teacher_logits: [N, classes]; receives no gradient.
        temperature: T, positive.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        Scalar; [N] with reduction ``none``.
    """
    return softened_kl(student_logits, teacher_logits, temperature, reduction)


@dataclass(frozen=True)
class KD(Method):
    """Knowledge distillation: the student imitates the teacher's softened predictions.

    Attributes:
        temperature: divides the logits of both models; the higher, the more the small probabilities count.
    """

    temperature: float = 4.0

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 0.9
    published_ce_weight: ClassVar[float] = 0.1

    def __post_init__(self) -> None:
        require_positive(temperature=self.temperature)

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The logits of both models."""
        return Reads([LOGITS], [LOGITS])

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``kd``: the divergence, [N]."""
        return {"kd": kd_loss(inputs.student.logits, inputs.teacher.logits, self.temperature, "none")}
