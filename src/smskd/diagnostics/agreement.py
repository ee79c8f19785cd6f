"""Agreement of a student with its teacher."""

from dataclasses import dataclass

from torch import Tensor

from smskd.ops.divergences import softened_kl


@dataclass(frozen=True)
class Agreement:
    """Of a student with its teacher on a part of the data (Stanton et al. 2021, arXiv 2106.05945).

    Attributes:
        top1: percent of the images for which both predict the same class.
        kl: KL(teacher || student) at temperature 1, mean over the images, in nats.
    """

    top1: float
    kl: float


def agreement(student_logits: Tensor, teacher_logits: Tensor) -> Agreement:
    """The agreement of two networks with the same classes.

    Args:
        student_logits: [N, classes].
        teacher_logits: [N, classes].
    """
    same = student_logits.argmax(dim=1) == teacher_logits.argmax(dim=1)
    divergence = softened_kl(student_logits.double(), teacher_logits.double(), 1.0)
    return Agreement(100.0 * float(same.double().mean()), float(divergence))
