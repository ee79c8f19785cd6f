"""The policy of spot-adaptive distillation: for each sample and decision, teacher or student."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smskd.ops.precision import full_precision

TEMPERATURE = 5.0
"""Of the softmax whose gradient the decisions have; published, and constant over the training."""

TEACHER_BIAS = 10.0
"""Added to the biases of "teacher" where training is to begin with nearly every sample distilled everywhere."""

_EPSILON = 1e-20


class Decisions(NamedTuple):
    """What a policy decides.

    Attributes:
        soft: [N, K, 2], softmax of the noisy logits; index 0 is the teacher.
        taken: [N, K], exactly 1 where the sample takes the teacher and 0 where it takes the student, with the gradient
            of ``soft``.
    """

    soft: Tensor
    taken: Tensor

    @property
    def chosen(self) -> Tensor:
        """[N, K] bool, where the sample takes the teacher."""
        return self.taken.detach() > 0.5


@full_precision
def gumbel_noise(uniform: Tensor) -> Tensor:
    """Gumbel noise from numbers that are uniform on [0, 1), of any shape."""
    return -torch.log(-torch.log(uniform + _EPSILON) + _EPSILON)


@full_precision
def decide(logits: Tensor, noise: Tensor) -> Decisions:
    """Straight-through Gumbel-softmax decisions (Jang et al. 2017, arXiv 1611.01144) at temperature 5.

    Equal to the decisions of zju-vipa/spot-adaptive-pytorch.

    Args:
        logits: [N, K, 2] of the policy; index 0 is the teacher, 1 the student.
        noise: [N, K, 2] of :func:`gumbel_noise`.
    """
    noisy = logits + noise
    soft = (noisy / TEMPERATURE).softmax(dim=2)
    probability = soft[..., 0]
    hard = (noisy[..., 0] > noisy[..., 1]).to(soft.dtype)
    return Decisions(soft, hard + (probability - probability.detach()))


def random_decisions(normal: Tensor) -> Decisions:
    """Decisions of a policy that learns nothing: teacher and student with probability 1/2 (``train_random.py``).

    Args:
        normal: [N, K, 2], standard normal numbers.
    """
    soft = normal.softmax(dim=2)
    return Decisions(soft, (soft[..., 0] > 0.5).to(normal.dtype))


class Policy(nn.Module):
    """One linear layer from the pooled vectors of teacher and student to two logits for each decision.

    Args:
        teacher: width of the teacher's pooled vector.
        student: width of the student's.
        decisions: K, number of decisions for each sample.
        bias: added to the biases of "teacher".
    """

    def __init__(self, teacher: int, student: int, decisions: int, bias: float = 0.0) -> None:
        super().__init__()
        self.net = nn.Linear(teacher + student, 2 * decisions)
        with torch.no_grad():
            self.net.bias[::2] += bias

    def forward(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Logits [N, K, 2] for the pooled vectors [N, ...] of both networks, which receive no gradient."""
        logits: Tensor = _linear(teacher.detach(), student.detach(), self.net.weight, self.net.bias)
        return logits


@full_precision
def _linear(teacher: Tensor, student: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.linear(torch.cat([teacher, student], dim=1), weight, bias).view(len(teacher), -1, 2)
