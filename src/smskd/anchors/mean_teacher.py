r"""Mean teacher: the student's own moving average as a moving reference.

Paper: Tarvainen, Valpola: Mean Teachers are Better Role Models, NeurIPS 2017

arXiv: 1703.01780

Formula:
    L = \frac{1}{N} \sum_{i=1}^{N} T^2 \, \mathrm{KL}(\sigma_T(z^r_i) \,\|\, \sigma_T(z^s_i))
    \quad \text{or} \quad
    L = \frac{1}{N C} \sum_{i,c} (\sigma_1(z^s_i) - \sigma_1(z^r_i))_c^2,
    w^r \leftarrow \alpha_n w^r + (1 - \alpha_n) w^s,
    \alpha_n = \min(1 - 1/(n + 1), \alpha)

Reads: the logits of the student and of its moving average.

Shapes: logits [N, C].

Source: CuriousAI/mean-teacher, pytorch/main.py (update_ema_variables), pytorch/mean_teacher/losses.py

Differences:
    - The average begins with each stage as a copy of the student; n counts the steps of the stage. It can act in the
      first stage.
    - The published code averages the parameters, and runs the average in train mode, with batch norm statistics of its
      own. Here the running statistics are averaged too, and the average runs in eval mode, without dropout.
    - Student and average see the same augmented images; in the paper each sees its own.
    - The published weight is 100 for the squared difference, raised from 0 over the first epochs; it is constant here.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from torch import Tensor, nn

from smskd.errors import UserError, nearest, require_between, require_positive
from smskd.interfaces.features import LOGITS, FeatureLayout, Reads
from smskd.interfaces.terms import Anchor, ReferenceKind, TermInputs
from smskd.ops.divergences import softened_kl
from smskd.ops.precision import full_precision
from smskd.ops.reduction import Reduction, reduced, sample_mean

Distance = Literal["kl", "mse"]


@full_precision
def probability_mse(student_logits: Tensor, reference_logits: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Mean squared difference between the predicted probabilities of two networks.

    Tarvainen and Valpola 2017, arXiv 1703.01780; equal to ``softmax_mse_loss`` of CuriousAI/mean-teacher divided by the
    batch size.

    Args:
        student_logits: [N, classes].
        reference_logits: [N, classes]; receives no gradient.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        Scalar; [N] with reduction ``none``. Each sample is averaged over the classes.
    """
    difference = student_logits.softmax(dim=1) - reference_logits.detach().softmax(dim=1)
    return reduced(sample_mean(difference.square()), reduction)


@dataclass(frozen=True)
class MeanTeacher(Anchor):
    """Mean teacher: the student is held near the predictions of its own moving average over the stage.

    Attributes:
        weight: weight of the loss in the objective, 0 or more. 0: the average is not run. The published weight of
            ``mse`` is 100.
        decay: alpha, of the average, per step.
        distance: ``kl``: T^2 times KL(average || student); ``mse``: squared difference of the probabilities, as
            published.
        temperature: T of both softmaxes of ``kl``.
    """

    weight: float = 0.4
    decay: float = 0.999
    distance: Distance = "kl"
    temperature: float = 4.0

    first_stage: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_between(0, math.inf, weight=self.weight)
        require_positive(temperature=self.temperature)
        if not 0 <= self.decay < 1:
            raise UserError(f"decay must be 0 or more and less than 1, not {self.decay}")
        if self.distance not in get_args(Distance):
            raise UserError(f"unknown distance '{self.distance}'{nearest(str(self.distance), get_args(Distance))}")

    @property
    def refers_to(self) -> ReferenceKind:
        """The moving average."""
        return "average"

    @property
    def average_decay(self) -> float:
        """``decay``."""
        return self.decay

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The logits of student and average."""
        return Reads((LOGITS,), reference=(LOGITS,))

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``kl`` or ``mse``, for each sample, [N]."""
        student, reference = inputs.student.logits, inputs.reference.logits
        if self.distance == "mse":
            return {"mse": probability_mse(student, reference, "none")}
        return {"kl": softened_kl(student, reference, self.temperature, "none")}
