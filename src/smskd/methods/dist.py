r"""Distillation from a stronger teacher.

Paper: Huang, You, Wang, Qian, Xu: Knowledge Distillation from A Stronger Teacher, NeurIPS 2022

arXiv: 2205.10536

Formula:
    L = \beta T^2 \left( 1 - \frac{1}{N} \sum_{i=1}^{N} \rho(p^s_{i \cdot}, p^t_{i \cdot}) \right)
      + \gamma T^2 \left( 1 - \frac{1}{C} \sum_{c=1}^{C} \rho(p^s_{\cdot c}, p^t_{\cdot c}) \right),
    p_i = \mathrm{softmax}(z_i / T),
    \rho(u, v) = \frac{\langle u - \bar{u}, v - \bar{v} \rangle}
                      {\|u - \bar{u}\| \, \|v - \bar{v}\| + 10^{-8}}

Taps: the logits of both models.

Shapes: student and teacher logits [N, C], or [N, C, H, W] with every pixel as a sample.

Source: hunto/image_classification_sota, lib/models/losses/dist_kd.py (DIST); of pixels hunto/DIST_KD,
    segmentation/losses/dist_kd.py

Differences:
    - 1e-8 is added to the product of the norms.
    - The squared temperature multiplies both terms.
    - Published for CIFAR-100: temperature 4; the default is that for ImageNet.
    - Probabilities that are all alike, of a sample or of a class over the batch, correlate with nothing: their
      gradient is zero here, and about 1e6 in published code.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from smskd.errors import UserError, require_between, require_positive
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import LOGITS, FeatureLayout, Reads, TappedOutputs
from smskd.interfaces.terms import Kind, Method
from smskd.ops.geometry import correlation
from smskd.ops.precision import full_precision


@full_precision
def dist_loss(
    student_logits: Tensor, teacher_logits: Tensor, beta: float, gamma: float, temperature: float
) -> tuple[Tensor, Tensor]:
    """Weighted distances of the relations between classes and within each class; the loss is their sum.

    Huang et al. 2022, arXiv 2205.10536; equal to ``DIST`` of hunto/image_classification_sota.

    Args:
        student_logits: [N, classes] or [N, classes, height, width].
        teacher_logits: of the same shape; receives no gradient.
        beta: of the relations between the classes of a sample.
        gamma: of the relations between the samples of the batch, for each class.
        temperature: T, positive.

    Returns:
        Both terms, scalars.
    """
    student, teacher = (_probabilities(z, temperature) for z in (student_logits, teacher_logits.detach()))
    inter, intra = (temperature**2 * (1 - correlation(student, teacher, dim).mean()) for dim in (1, 0))
    return beta * inter, gamma * intra


def _probabilities(logits: Tensor, temperature: float) -> Tensor:
    """[samples, classes], where a pixel is a sample."""
    samples = logits.movedim(1, -1).flatten(0, -2)
    return (samples / temperature).softmax(dim=1)


@dataclass(frozen=True)
class DIST(Method):
    """Distillation from a stronger teacher: probabilities need only correlate with the teacher's, not be equal.

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

    def __post_init__(self) -> None:
        require_between(0, float("inf"), beta=self.beta, gamma=self.gamma)
        if not (self.beta or self.gamma):
            raise UserError("beta and gamma must not both be 0")
        require_positive(temperature=self.temperature)

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        """The logits of both models."""
        return Reads((LOGITS,), (LOGITS,))

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        """``inter`` (between classes) and ``intra`` (within a class), each with its weight."""
        inter, intra = dist_loss(student.logits, teacher.logits, self.beta, self.gamma, self.temperature)
        return {"inter": inter, "intra": intra}
