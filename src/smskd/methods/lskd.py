r"""Logit standardization in knowledge distillation.

Paper: Sun, Ren, Li, Wang, Cao: Logit Standardization in Knowledge Distillation, CVPR 2024

arXiv: 2403.01427

Formula:
    L = \frac{T^2}{N} \sum_{i=1}^{N} \sum_{c=1}^{C} p^t_{ic} (\log p^t_{ic} - \log p^s_{ic})
        \quad \text{(base kd), or } \quad
        L = \min(e / e_0, 1) \, (\alpha \, \mathrm{TCKD} + \beta \, \mathrm{NCKD}) \quad \text{(base dkd)},
    p_i = \mathrm{softmax}(\tilde{z}_i / T),
    \tilde{z}_i = \frac{z_i - \bar{z}_i}{\sigma_i + 10^{-7}},
    \sigma_i^2 = \frac{1}{C - 1} \sum_c (z_{ic} - \bar{z}_i)^2

Taps: the logits of both models.

Shapes: student and teacher logits [N, C], C at least 2.

Source: sunshangquan/logit-standardization-KD, mdistiller/distillers/KD.py and DKD.py (logit_stand)

Differences:
    - The paper divides by the temperature times the deviation; the published code uses the unbiased deviation,
      adds 1e-7 to it, and keeps the factor T^2.
    - The gradient goes through mean and deviation of the student's logits.
    - The published weight of 9 is that of base kd beside a cross-entropy of 0.1. With base dkd the published code
      multiplies alpha and beta by 9, which is the same weight, and the cross-entropy has weight 1: give
      ce_weight 1 there.
    - Logits of a sample that are all alike have no deviation to divide by: they become zeros without gradient
      here. In published code they have gradients of about 1e6.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from smskd.errors import UserError, require_between, require_count, require_positive
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import LOGITS, FeatureLayout, Reads, TappedOutputs
from smskd.interfaces.terms import Kind, Method
from smskd.ops.divergences import decoupled_kl, softened_kl, standardize


def lskd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Knowledge distillation of standardised logits.

    Sun et al. 2024, arXiv 2403.01427; equal to ``kd_loss`` of sunshangquan/logit-standardization-KD.

    Args:
        student_logits: [N, classes].
        teacher_logits: [N, classes]; receives no gradient.
        temperature: T, positive.

    Returns:
        Scalar, averaged over the batch.
    """
    return softened_kl(standardize(student_logits), standardize(teacher_logits), temperature)


def lskd_dkd_loss(
    student_logits: Tensor, teacher_logits: Tensor, y: Tensor, alpha: float, beta: float, temperature: float
) -> tuple[Tensor, Tensor]:
    """Decoupled knowledge distillation of standardised logits.

    Sun et al. 2024, arXiv 2403.01427; equal to ``dkd_loss`` of sunshangquan/logit-standardization-KD.

    Args:
        student_logits: [N, classes].
        teacher_logits: [N, classes]; receives no gradient.
        y: [N] int64 class indices.
        alpha: of the divergence of own class against rest (TCKD).
        beta: of the divergence within the rest (NCKD).
        temperature: T, positive.

    Returns:
        Both terms, scalars, averaged over the batch; the loss is their sum.
    """
    own, rest = decoupled_kl(standardize(student_logits), standardize(teacher_logits), y, temperature)
    return alpha * own, beta * rest


@dataclass(frozen=True)
class LSKD(Method):
    """Logit standardization: the student need not have logits as large as the teacher's, only like ones.

    Attributes:
        base: the loss of the standardised logits, of knowledge distillation or its decoupled form.
        temperature: divides the standardised logits of both models.
        alpha: weight of the divergence of own class against rest (base dkd).
        beta: weight of the divergence within the rest (base dkd).
        warmup: epochs of the stage over which the loss rises to its full weight (base dkd); 1: at once.
    """

    base: Literal["kd", "dkd"] = "kd"
    temperature: float = 2.0
    alpha: float = 1.0
    beta: float = 8.0
    warmup: int = 20

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 9.0
    published_ce_weight: ClassVar[float] = 0.1

    def __post_init__(self) -> None:
        if self.base not in ("kd", "dkd"):
            raise UserError(f"base must be kd or dkd, not {self.base}")
        require_positive(temperature=self.temperature)
        require_between(0, float("inf"), alpha=self.alpha, beta=self.beta)
        require_count(warmup=self.warmup)

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        """The logits of both models."""
        return Reads((LOGITS,), (LOGITS,))

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        """``kd``; or ``tckd`` and ``nckd``, each with its weight and the warm-up."""
        if self.base == "kd":
            return {"kd": lskd_loss(student.logits, teacher.logits, self.temperature)}
        rise = min(batch.progress.epoch / self.warmup, 1.0)
        weights = (rise * self.alpha, rise * self.beta)
        own, rest = lskd_dkd_loss(student.logits, teacher.logits, batch.y, *weights, self.temperature)
        return {"tckd": own, "nckd": rest}
