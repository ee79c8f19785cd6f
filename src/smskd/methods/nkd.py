r"""Normalized knowledge distillation.

Paper: Yang, Zeng, Li, Zhang, Yuan, Li: From Knowledge Distillation to Self-Knowledge Distillation: A Unified
    Approach with Normalized Loss and Customized Soft Labels, ICCV 2023

arXiv: 2303.13005

Formula:
    L = -\frac{1}{N} \sum_i p^t_{iy_i} \log p^s_{iy_i}
        - \gamma \frac{T^2}{N} \sum_i \sum_{c \ne y_i} \hat{p}^t_{ic} \log \hat{p}^s_{ic},
    p_i = \mathrm{softmax}(z_i),
    \hat{p}_i = \mathrm{softmax}((z_{ic})_{c \ne y_i} / T)

Taps: the logits of both models.

Shapes: student and teacher logits [N, C], C at least 2; labels [N], or class probabilities [N, C].

Source: yzd-v/cls_KD, mmcls/models/dis_losses/nkd.py (NKDLoss)

Differences:
    - The term of the own class has no temperature, and the teacher's probability in it is a constant.
    - The term of the other classes is a cross-entropy, not a divergence: it does not come to 0 where student
      and teacher agree.
    - Of labels that are class probabilities, as mixed ones are, the most probable class counts as the own.
    - Published for CIFAR-100: temperature 3, gamma 3.5; the defaults are those for ImageNet.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from smskd.errors import require_between, require_positive
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import LOGITS, FeatureLayout, Reads, TappedOutputs
from smskd.interfaces.terms import Kind, Method
from smskd.ops.divergences import other_classes
from smskd.ops.precision import full_precision


@full_precision
def nkd_loss(
    student_logits: Tensor, teacher_logits: Tensor, y: Tensor, gamma: float, temperature: float
) -> tuple[Tensor, Tensor]:
    """The term of the own class and, weighted with gamma, that of the others; the loss is their sum.

    Yang et al. 2023, arXiv 2303.13005; equal to ``NKDLoss`` of yzd-v/cls_KD.

    Args:
        student_logits: [N, classes].
        teacher_logits: [N, classes]; receives no gradient.
        y: [N] int64 class indices, or [N, classes] class probabilities, of which the largest counts.
        gamma: of the term of the other classes.
        temperature: T, positive, of the term of the other classes.

    Returns:
        Both terms, scalars, averaged over the batch.
    """
    teacher_logits = teacher_logits.detach()
    y = y if y.dim() == 1 else y.argmax(dim=1)
    confidence = teacher_logits.softmax(dim=1)
    own = (confidence * student_logits.log_softmax(dim=1)).gather(1, y.unsqueeze(1)).mean()
    target = (other_classes(teacher_logits, y) / temperature).softmax(dim=1)
    others = (target * (other_classes(student_logits, y) / temperature).log_softmax(dim=1)).sum(dim=1).mean()
    return -own, -gamma * temperature**2 * others


@dataclass(frozen=True)
class NKD(Method):
    """Normalized knowledge distillation: the other classes' probabilities are compared as if there were no own one.

    Attributes:
        gamma: weight of the term of the other classes.
        temperature: divides the logits of both models in the term of the other classes.
    """

    gamma: float = 1.5
    temperature: float = 1.0

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        require_between(0, float("inf"), gamma=self.gamma)
        require_positive(temperature=self.temperature)

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        """The logits of both models."""
        return Reads((LOGITS,), (LOGITS,))

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        """``own`` and ``others``, the latter with its weight."""
        own, others = nkd_loss(student.logits, teacher.logits, batch.y, self.gamma, self.temperature)
        return {"own": own, "others": others}
