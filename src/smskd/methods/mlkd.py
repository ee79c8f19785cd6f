r"""Multi-level logit distillation.

Paper: Jin, Wang, Lin: Multi-Level Logit Distillation, CVPR 2023

arXiv:

Formula:
    L = a \sum_{T \in \mathcal{T}} \mathrm{KD}_T^{weak} + \sum_{T \in \{T_0, 3, 5\}} \mathrm{KD}_T^{strong}
      + \sum_{T \in \{2, 6\}} \mathrm{KD}_T^{weak}
      + b \sum_{T \in \mathcal{T}} \mathrm{CC}_T^{weak} + a \sum_{T \in \mathcal{T}} \mathrm{BC}_T^{weak},
      \quad \mathcal{T} = (T_0, 3, 5, 2, 6),
    \mathrm{KD}_T = \frac{T^2}{N} \sum_i \mathrm{KL}(p^t_i \| p^s_i), \; p_i = \mathrm{softmax}(z_i / T),
    \mathrm{CC}_T = \frac{1}{C} \|(P^s)^\top P^s - (P^t)^\top P^t\|_F^2, \;
    \mathrm{BC}_T = \frac{1}{N} \|P^s (P^s)^\top - P^t (P^t)^\top\|_F^2, \; P = (p_1, \dots, p_N)^\top,
    a = \text{share of samples whose largest teacher probability is at most the median},
    b = \text{share of classes whose sum of teacher probabilities is at most the median}

Reads: the logits of both models, on the batch's own (weakly augmented) and on the strongly augmented images.

Shapes: student and teacher logits [N, C] of each view.

Source: Jin-Ying/Multi-Level-Logit-Distillation, mdistiller/distillers/KD_ours.py; standardised
    sunshangquan/logit-standardization-KD, mdistiller/distillers/MLKD.py

Differences:
    - The paper masks the distributions, samples and classes of low confidence. In the published code the masks
      multiply terms that are already summed, so that they act only through the shares a and b of what they keep.
    - The published code takes the temperatures 2 and 6 of the strong view's group from the weak view, and computes
      CC and BC of the strong view without using them.
    - The published objective gives all of this the weight 0.9 (9 where standardised) and the cross-entropy of
      each of the two views 0.1. Both cross-entropies belong to the objective.
    - Where standardised, the logits are so in KD alone; T_0 is 2 there.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from smskd.errors import require_positive
from smskd.interfaces.features import LOGITS, FeatureLayout, Reads
from smskd.interfaces.terms import Kind, Method, TermInputs
from smskd.ops.divergences import softened_kl
from smskd.ops.divergences import standardize as standardized
from smskd.ops.precision import full_precision
from smskd.ops.reduction import Reduction, reduced

STRONG_TEMPERATURES = (3.0, 5.0)
WEAK_TEMPERATURES = (2.0, 6.0)
Views = tuple[Tensor, Tensor]


@full_precision
def mlkd_loss(
    student: Views, teacher: Views, temperature: float, standardize: bool = False, reduction: Reduction = "mean"
) -> dict[str, Tensor]:
    """Divergences and differences of correlations at several temperatures; the loss is the sum of the three.

    Jin et al. 2023; equal to ``KD_ours`` of Jin-Ying/Multi-Level-Logit-Distillation without its weights and its
    cross-entropy.

    Args:
        student: logits [N, classes] of the weak and of the strong view.
        teacher: likewise; receives no gradient.
        temperature: T_0, positive, in addition to the fixed 2, 3, 5 and 6.
        standardize: whether logits are standardised in the divergences.
        reduction: ``mean`` over the batch, or ``none``; of ``kd`` alone.

    Returns:
        ``kd`` (divergences), scalar, or [N] with reduction ``none``; ``cc`` (correlations of classes) and ``bc`` (of
        samples), scalars.
    """
    weak, strong = ((s, t.detach()) for s, t in zip(student, teacher, strict=True))
    temperatures = (temperature, *STRONG_TEMPERATURES, *WEAK_TEMPERATURES)
    confidence = weak[1].softmax(dim=1)
    samples, classes = _share_up_to_median(confidence.amax(dim=1)), _share_up_to_median(confidence.sum(dim=0))
    probabilities = [tuple((logits / each).softmax(dim=1) for logits in weak) for each in temperatures]
    if standardize:
        weak, strong = ((standardized(s), standardized(t)) for s, t in (weak, strong))
    on_weak = [softened_kl(*weak, each, "none") for each in temperatures]
    on_strong = [softened_kl(*strong, each, "none") for each in (temperature, *STRONG_TEMPERATURES)]
    extra = on_weak[-len(WEAK_TEMPERATURES) :]
    return {
        "kd": reduced(samples * _sum(on_weak) + _sum(on_strong) + _sum(extra), reduction),
        "cc": classes * _sum([_gram_difference(s.T, t.T) for s, t in probabilities]),
        "bc": samples * _sum([_gram_difference(s, t) for s, t in probabilities]),
    }


def _share_up_to_median(x: Tensor) -> Tensor:
    return (x <= x.quantile(0.5)).to(x.dtype).mean()


def _gram_difference(student: Tensor, teacher: Tensor) -> Tensor:
    return (student @ student.T - teacher @ teacher.T).square().sum() / len(student)


def _sum(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).sum(dim=0)


@dataclass(frozen=True)
class MLKD(Method):
    """Multi-level logit distillation: predictions of a weak and a strong view, and their correlations, are compared.

    Attributes:
        temperature: one of the five that divide the logits; the others are 2, 3, 5 and 6.
        standardize: whether logits are standardised in the divergences; published with temperature 2 and weight 9.
    """

    temperature: float = 4.0
    standardize: bool = False

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 0.9
    published_ce_weight: ClassVar[float] = 0.1
    relates_samples: ClassVar[bool] = True
    ce_on_views: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_positive(temperature=self.temperature)

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The logits of both models on the batch's own images and on their strong view."""
        both = (LOGITS, f"{LOGITS}@strong")
        return Reads(both, both)

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``kd``, [N], ``cc`` and ``bc``, scalars."""
        student, teacher = ((output.logits, output.features[0]) for output in (inputs.student, inputs.teacher))
        return mlkd_loss(student, teacher, self.temperature, self.standardize, "none")
