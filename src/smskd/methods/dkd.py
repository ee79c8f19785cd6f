r"""Decoupled knowledge distillation.

Paper: Zhao, Cui, Song, Qiu, Liang: Decoupled Knowledge Distillation, CVPR 2022

arXiv: 2203.08679

Formula:
    L = \min(e / e_0, 1) \, (\alpha \, \mathrm{TCKD} + \beta \, \mathrm{NCKD}),
    \mathrm{TCKD} = \frac{T^2}{N} \sum_i \sum_{b \in \{y_i, \, \text{rest}\}} p^t_{ib} \log \frac{p^t_{ib}}{p^s_{ib}},
    \mathrm{NCKD} = \frac{T^2}{N} \sum_i \sum_{c \ne y_i} \hat{p}^t_{ic} \log \frac{\hat{p}^t_{ic}}{\hat{p}^s_{ic}},
    p_i = \mathrm{softmax}(z_i / T), \; p_{i,\text{rest}} = 1 - p_{iy_i},
    \hat{p}_{ic} = p_{ic} / p_{i,\text{rest}}

Taps: the logits of both models.

Shapes: student and teacher logits [N, C], C at least 2.

Source: megvii-research/mdistiller, mdistiller/distillers/DKD.py

Differences:
    - The published code warms the loss up: it is multiplied by min(e / e_0, 1) in epoch e, counted from 1, here
      within the stage. The paper's formula does not have it.
    - beta depends on the pair of models. Published for CIFAR-100: 8 for resnet32x4 -> resnet8x4, ShuffleV1 and
      ShuffleV2, ResNet50 -> MobileNetV2 and wrn_40_2 -> ShuffleV1; 6 for vgg13 -> vgg8 and MobileNetV2 and
      wrn_40_2 -> wrn_16_2 and wrn_40_1; 2 for resnet56 -> resnet20 and resnet110 -> resnet32.
    - The published code leaves the own class out by subtracting 1000 from its logit / T, so that it comes back
      where logits / T differ by about 1000, and takes logarithms of probabilities, which are infinite where
      one is rounded to 0. Here the class is left out, and logarithms are finite for logits of any size.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from smskd.errors import require_between, require_count, require_positive
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import LOGITS, FeatureLayout, Reads, TappedOutputs
from smskd.interfaces.terms import Kind, Method
from smskd.ops.divergences import decoupled_kl


def dkd_loss(
    student_logits: Tensor, teacher_logits: Tensor, y: Tensor, alpha: float, beta: float, temperature: float
) -> tuple[Tensor, Tensor]:
    """Weighted divergences of own class against rest, and within the rest; the loss is their sum.

    Zhao et al. 2022, arXiv 2203.08679; equal to ``dkd_loss`` of megvii-research/mdistiller.

    Args:
        student_logits: [N, classes].
        teacher_logits: [N, classes]; receives no gradient.
        y: [N] int64 class indices.
        alpha: of the divergence of own class against rest (TCKD).
        beta: of the divergence within the rest (NCKD).
        temperature: T, positive.

    Returns:
        Both terms, scalars, averaged over the batch.
    """
    own, rest = decoupled_kl(student_logits, teacher_logits, y, temperature)
    return alpha * own, beta * rest


@dataclass(frozen=True)
class DKD(Method):
    """Decoupled knowledge distillation: how sure the teacher is, and what else it saw, weighted on their own.

    Attributes:
        alpha: weight of the divergence of own class against rest.
        beta: weight of the divergence within the rest; published values for a pair of models are 2, 6 or 8.
        temperature: divides the logits of both models.
        warmup: epochs of the stage over which the loss rises to its full weight; 1: at once.
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

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        """The logits of both models."""
        return Reads((LOGITS,), (LOGITS,))

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        """``tckd`` and ``nckd``, each with its weight and the warm-up."""
        rise = min(batch.progress.epoch / self.warmup, 1.0)
        weights = (rise * self.alpha, rise * self.beta)
        own, rest = dkd_loss(student.logits, teacher.logits, batch.y, *weights, self.temperature)
        return {"tckd": own, "nckd": rest}
