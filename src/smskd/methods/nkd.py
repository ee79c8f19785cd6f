r"""Normalized knowledge distillation.

Paper: Yang, Zeng, Li, Zhang, Yuan, Li: From Knowledge Distillation to Self-Knowledge Distillation: A Unified
    Approach with Normalized Loss and Customized Soft Labels, ICCV 2023

arXiv: 2303.13005

Formula:
    L = -\frac{1}{N} \sum_i p^t_{iy_i} \log p^s_{iy_i}
        - \gamma \frac{T^2}{N} \sum_i \sum_{c \ne y_i} \hat{p}^t_{ic} \log \hat{p}^s_{ic},
    p_i = \mathrm{softmax}(z_i),
    \hat{p}_i = \mathrm{softmax}((z_{ic})_{c \ne y_i} / T)

Reads: the logits of both models.

Shapes: student and teacher logits [N, C], C at least 2; labels [N], or class probabilities [N, C].

Source: yzd-v/cls_KD, mmcls/models/dis_losses/nkd.py (NKDLoss)

Differences:
    - The term of the target class has no temperature, and the teacher's probability in it is a constant.
    - The term of the non-target classes is a cross-entropy, not a divergence: it is not 0 where student and teacher
      agree.
    - Where the labels are class probabilities (mixed labels), the most probable class is the target class.
    - Published for CIFAR-100: temperature 3, gamma 3.5; the defaults are those for ImageNet.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from smskd.errors import require_between, require_positive
from smskd.interfaces.features import LOGITS, FeatureLayout, Reads
from smskd.interfaces.terms import Kind, LabelUse, Method, TermInputs
from smskd.ops.divergences import other_classes
from smskd.ops.precision import full_precision
from smskd.ops.reduction import Reduction, reduced


@full_precision
def nkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    y: Tensor,
    gamma: float,
    temperature: float,
    reduction: Reduction = "mean",
) -> tuple[Tensor, Tensor]:
    """The target-class term and the non-target-class term, weighted with gamma; the loss is their sum.

    Yang et al. 2023, arXiv 2303.13005; equal to ``NKDLoss`` of yzd-v/cls_KD.

    Args:
        student_logits: [N, classes], 2 classes or more.
        teacher_logits: [N, classes]; receives no gradient.
        y: [N] int64 class indices, or [N, classes] class probabilities, of which the largest is the target class.
        gamma: weight of the non-target-class term.
        temperature: T of the non-target-class term, positive.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        Both terms, scalars; [N] with reduction ``none``.
    """
    teacher_logits = teacher_logits.detach()
    y = y if y.dim() == 1 else y.argmax(dim=1)
    confidence = teacher_logits.softmax(dim=1)
    target = (confidence * student_logits.log_softmax(dim=1)).gather(1, y.unsqueeze(1)).squeeze(1)
    probabilities = (other_classes(teacher_logits, y) / temperature).softmax(dim=1)
    others = (probabilities * (other_classes(student_logits, y) / temperature).log_softmax(dim=1)).sum(dim=1)
    return -reduced(target, reduction), -gamma * temperature**2 * reduced(others, reduction)


@dataclass(frozen=True)
class NKD(Method):
    """Normalized knowledge distillation: the probabilities of the non-target classes are compared after normalisation.

    Attributes:
        gamma: weight of the non-target-class term.
        temperature: divides the logits of both models in the non-target-class term.
    """

    gamma: float = 1.5
    temperature: float = 1.0

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        require_between(0, float("inf"), gamma=self.gamma)
        require_positive(temperature=self.temperature)

    @property
    def label_use(self) -> LabelUse:
        """Mixed labels: the class with the largest share is the target class, as in published code."""
        return "mixed"

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The logits of both models."""
        return Reads([LOGITS], [LOGITS])

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``own`` (target class) and ``others`` (non-target classes, with its weight), [N]."""
        logits = inputs.student.logits, inputs.teacher.logits
        own, others = nkd_loss(*logits, inputs.batch.labels, self.gamma, self.temperature, "none")
        return {"own": own, "others": others}
