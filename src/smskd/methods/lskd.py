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

Reads: the logits of both models.

Shapes: student and teacher logits [N, C], C at least 2.

Source: sunshangquan/logit-standardization-KD, mdistiller/distillers/KD.py and DKD.py (logit_stand)

Differences:
    - The paper divides by the temperature times the deviation; the published code uses the unbiased deviation,
      adds 1e-7 to it, and keeps the factor T^2.
    - The gradient flows through mean and deviation of the student's logits.
    - The published weight of 9 is that of base kd beside a cross-entropy of 0.1. With base dkd the published code
      multiplies alpha and beta by 9, which is the same weight, and the cross-entropy has weight 1: set
      ce_weight 1 there.
    - The logits of a sample that are all equal have no deviation to divide by: they become zeros without gradient
      here. In published code their gradients are about 1e6.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from smskd.errors import UserError, require_between, require_count, require_positive
from smskd.interfaces.features import LOGITS, FeatureLayout, Reads
from smskd.interfaces.terms import Kind, LabelUse, Method, TermInputs
from smskd.ops.divergences import decoupled_kl, softened_kl, standardize
from smskd.ops.reduction import Reduction
from smskd.ops.warmup import warmup_factor


def lskd_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float, reduction: Reduction = "mean"
) -> Tensor:
    """Knowledge distillation of standardised logits.

    Sun et al. 2024, arXiv 2403.01427; equal to ``kd_loss`` of sunshangquan/logit-standardization-KD.

    Args:
        student_logits: [N, classes], 2 classes or more.
        teacher_logits: [N, classes]; receives no gradient.
        temperature: T, positive.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        Scalar; [N] with reduction ``none``.
    """
    return softened_kl(standardize(student_logits), standardize(teacher_logits), temperature, reduction)


def lskd_dkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    y: Tensor,
    alpha: float,
    beta: float,
    temperature: float,
    reduction: Reduction = "mean",
) -> tuple[Tensor, Tensor]:
    """Decoupled knowledge distillation of standardised logits; the loss is the sum of both terms.

    Sun et al. 2024, arXiv 2403.01427; equal to ``dkd_loss`` of sunshangquan/logit-standardization-KD.

    Args:
        student_logits: [N, classes], 2 classes or more.
        teacher_logits: [N, classes]; receives no gradient.
        y: [N] int64 class indices.
        alpha: weight of the divergence between target class and all other classes (TCKD).
        beta: weight of the divergence among the other classes (NCKD).
        temperature: T, positive.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        Both terms, scalars; [N] with reduction ``none``.
    """
    logits = standardize(student_logits), standardize(teacher_logits)
    target, others = decoupled_kl(*logits, y, temperature, reduction)
    return alpha * target, beta * others


@dataclass(frozen=True)
class LSKD(Method):
    """Logit standardization: logits are compared after standardisation, so that their magnitude does not matter.

    Attributes:
        base: loss of the standardised logits: knowledge distillation (kd) or its decoupled form (dkd).
        temperature: divides the standardised logits of both models.
        alpha: weight of the divergence between target class and all other classes (base dkd).
        beta: weight of the divergence among the other classes (base dkd).
        warmup: epochs of the stage over which the weight of the loss rises linearly (base dkd); 1: no warm-up.
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

    @property
    def label_use(self) -> LabelUse:
        """One class for each sample with base dkd; none with base kd."""
        return "hard" if self.base == "dkd" else "none"

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The logits of both models."""
        return Reads([LOGITS], [LOGITS])

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``kd``, [N]; or ``tckd`` and ``nckd``, [N], each with its weight and the warm-up factor."""
        logits = inputs.student.logits, inputs.teacher.logits
        if self.base == "kd":
            return {"kd": lskd_loss(*logits, self.temperature, "none")}
        factor = warmup_factor(inputs.batch.progress, self.warmup)
        weights = (factor * self.alpha, factor * self.beta)
        target, others = lskd_dkd_loss(*logits, inputs.batch.y, *weights, self.temperature, "none")
        return {"tckd": target, "nckd": others}
