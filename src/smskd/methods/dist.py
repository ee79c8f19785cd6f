r"""Distillation from a stronger teacher.

Paper: Huang, You, Wang, Qian, Xu: Knowledge Distillation from A Stronger Teacher, NeurIPS 2022

arXiv: 2205.10536

Formula:
    L = \beta T^2 \left( 1 - \frac{1}{N} \sum_{i=1}^{N} \rho(p^s_{i \cdot}, p^t_{i \cdot}) \right)
      + \gamma T^2 \left( 1 - \frac{1}{C} \sum_{c=1}^{C} \rho(p^s_{\cdot c}, p^t_{\cdot c}) \right),
    p_i = \mathrm{softmax}(z_i / T),
    \rho(u, v) = \frac{\langle u - \bar{u}, v - \bar{v} \rangle}
                      {\|u - \bar{u}\| \, \|v - \bar{v}\| + 10^{-8}}

Reads: the logits of both models.

Shapes: student and teacher logits [N, C], or [N, C, H, W] with every pixel as a sample.

Source: hunto/image_classification_sota, lib/models/losses/dist_kd.py (DIST); for pixels hunto/DIST_KD,
    segmentation/losses/dist_kd.py

Differences:
    - 1e-8 is added to the product of the norms.
    - The squared temperature multiplies both terms.
    - Published for CIFAR-100: temperature 4; the default is that for ImageNet.
    - Probabilities that are all equal, of a sample or of a class over the batch, have no correlation: their
      gradient is zero here, and about 1e6 in published code.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from smskd.errors import UserError, require_between, require_positive
from smskd.interfaces.features import LOGITS, FeatureLayout, Reads
from smskd.interfaces.terms import Kind, Method, TermInputs
from smskd.ops.geometry import correlation
from smskd.ops.precision import full_precision
from smskd.ops.reduction import Reduction, reduced, sample_mean


@full_precision
def dist_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    beta: float,
    gamma: float,
    temperature: float,
    reduction: Reduction = "mean",
) -> tuple[Tensor, Tensor]:
    """The weighted inter-class and intra-class correlation distances; the loss is their sum.

    Huang et al. 2022, arXiv 2205.10536; equal to ``DIST`` of hunto/image_classification_sota.

    Args:
        student_logits: [N, classes] or [N, classes, height, width].
        teacher_logits: of the same shape; receives no gradient.
        beta: weight of the inter-class term: correlations over the classes, for each sample.
        gamma: weight of the intra-class term: correlations over the samples, for each class.
        temperature: T, positive.
        reduction: ``mean`` over the batch, or ``none``; of the inter-class term alone.

    Returns:
        The inter-class term, scalar, or [N] with reduction ``none``; the intra-class term, scalar.
    """
    student, teacher = (_probabilities(logits, temperature) for logits in (student_logits, teacher_logits.detach()))
    of_samples = correlation(student, teacher, dim=1).reshape(len(student_logits), -1)
    of_classes = correlation(student, teacher, dim=0)
    inter = temperature**2 * (1 - sample_mean(of_samples))
    intra = temperature**2 * (1 - of_classes.mean())
    return beta * reduced(inter, reduction), gamma * intra


def _probabilities(logits: Tensor, temperature: float) -> Tensor:
    """[samples, classes], where a pixel is a sample."""
    samples = logits.movedim(1, -1).flatten(0, -2)
    return (samples / temperature).softmax(dim=1)


@dataclass(frozen=True)
class DIST(Method):
    """Distillation from a stronger teacher: the student's probabilities correlate with the teacher's, not equal them.

    Attributes:
        beta: weight of the relations between the classes of a sample.
        gamma: weight of the relations between the samples of a batch, for each class.
        temperature: divides the logits of both models.
    """

    beta: float = 1.0
    gamma: float = 1.0
    temperature: float = 1.0

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 2.0
    relates_samples: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_between(0, float("inf"), beta=self.beta, gamma=self.gamma)
        if not (self.beta or self.gamma):
            raise UserError("beta and gamma must not both be 0")
        require_positive(temperature=self.temperature)

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The logits of both models."""
        return Reads([LOGITS], [LOGITS])

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``inter`` (between classes), [N], and ``intra`` (within a class), scalar, each with its weight."""
        logits = inputs.student.logits, inputs.teacher.logits
        inter, intra = dist_loss(*logits, self.beta, self.gamma, self.temperature, "none")
        return {"inter": inter, "intra": intra}
