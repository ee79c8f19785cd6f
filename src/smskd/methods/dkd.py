r"""Decoupled knowledge distillation.

Paper: Zhao, Cui, Song, Qiu, Liang: Decoupled Knowledge Distillation, CVPR 2022

arXiv: 2203.08679

Formula:
    L = \min(e / e_0, 1) \, (\alpha \, \mathrm{TCKD} + \beta \, \mathrm{NCKD}),
    \mathrm{TCKD} = \frac{T^2}{N} \sum_i \sum_{b \in \{y_i, \, \text{rest}\}} p^t_{ib} \log \frac{p^t_{ib}}{p^s_{ib}},
    \mathrm{NCKD} = \frac{T^2}{N} \sum_i \sum_{c \ne y_i} \hat{p}^t_{ic} \log \frac{\hat{p}^t_{ic}}{\hat{p}^s_{ic}},
    p_i = \mathrm{softmax}(z_i / T), \; p_{i,\text{rest}} = 1 - p_{iy_i},
    \hat{p}_{ic} = p_{ic} / p_{i,\text{rest}}

Reads: the logits of both models.

Shapes: student and teacher logits [N, C], C at least 2.

Source: megvii-research/mdistiller, mdistiller/distillers/DKD.py

Differences:
    - The published code has a warm-up: the loss is multiplied by min(e / e_0, 1) in epoch e, counted from 1 (here
      within the stage). The paper's formula has none.
    - beta depends on the pair of models. Published for CIFAR-100: 8 for resnet32x4 -> resnet8x4, ShuffleV1 and
      ShuffleV2, ResNet50 -> MobileNetV2 and wrn_40_2 -> ShuffleV1; 6 for vgg13 -> vgg8 and MobileNetV2 and
      wrn_40_2 -> wrn_16_2 and wrn_40_1; 2 for resnet56 -> resnet20 and resnet110 -> resnet32.
    - The published code excludes the target class by subtracting 1000 from its logit / T, so that it is included
      again where logits / T differ by about 1000, and takes logarithms of probabilities, which are infinite where
      a probability underflows to 0. Here the class is left out, and the logarithms are finite for logits of any size.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from smskd.errors import require_between, require_count, require_positive
from smskd.interfaces.features import LOGITS, FeatureLayout, Reads
from smskd.interfaces.terms import Kind, LabelUse, Method, TermInputs
from smskd.ops.divergences import decoupled_kl
from smskd.ops.reduction import Reduction
from smskd.ops.warmup import warmup_factor


def dkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    y: Tensor,
    alpha: float,
    beta: float,
    temperature: float,
    reduction: Reduction = "mean",
) -> tuple[Tensor, Tensor]:
    """The weighted target-class and non-target-class divergences; the loss is their sum.

    Zhao et al. 2022, arXiv 2203.08679; equal to ``dkd_loss`` of megvii-research/mdistiller.

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
    target, others = decoupled_kl(student_logits, teacher_logits, y, temperature, reduction)
    return alpha * target, beta * others


@dataclass(frozen=True)
class DKD(Method):
    """Decoupled knowledge distillation: the target-class and the non-target-class divergence have separate weights.

    Attributes:
        alpha: weight of the divergence between target class and all other classes.
        beta: weight of the divergence among the other classes; published values, depending on the models, are 2, 6
            and 8.
        temperature: divides the logits of both models.
        warmup: epochs of the stage over which the weight of the loss rises linearly; 1: no warm-up.
    """

    alpha: float = 1.0
    beta: float = 8.0
    temperature: float = 4.0
    warmup: int = 20

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        require_between(0, float("inf"), alpha=self.alpha, beta=self.beta)
        require_positive(temperature=self.temperature)
        require_count(warmup=self.warmup)

    @property
    def label_use(self) -> LabelUse:
        """One class for each sample: target class and other classes are compared separately."""
        return "hard"

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The logits of both models."""
        return Reads([LOGITS], [LOGITS])

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``tckd`` and ``nckd``, [N], each with its weight and the warm-up factor."""
        factor = warmup_factor(inputs.batch.progress, self.warmup)
        weights = (factor * self.alpha, factor * self.beta)
        logits = inputs.student.logits, inputs.teacher.logits
        target, others = dkd_loss(*logits, inputs.batch.y, *weights, self.temperature, "none")
        return {"tckd": target, "nckd": others}
