r"""Multi-level logit distillation.

Paper: Jin, Wang, Lin: Multi-Level Logit Distillation, CVPR 2023

arXiv:

Formula:
    L = f \sum_{t \in \tau} \mathrm{KD}_t^w + \sum_{t \in \{T, 3, 5\}} \mathrm{KD}_t^s
      + \sum_{t \in \{2, 6\}} \mathrm{KD}_t^w
      + h \sum_{t \in \tau} \mathrm{CC}_t^w + f \sum_{t \in \tau} \mathrm{BC}_t^w,
      \quad \tau = (T, 3, 5, 2, 6),
    \mathrm{KD}_t = \frac{t^2}{N} \sum_i \mathrm{KL}(p^t_i \| p^s_i), \; p_i = \mathrm{softmax}(z_i / t),
    \mathrm{CC}_t = \frac{1}{C} \|P_s^T P_s - P_t^T P_t\|_F^2, \;
    \mathrm{BC}_t = \frac{1}{N} \|P_s P_s^T - P_t P_t^T\|_F^2,
    f = \text{share of samples whose largest teacher probability is at most the median},
    h = \text{share of classes whose sum of teacher probabilities is at most the median}

Taps: the logits of both models, on the batch's own (weakly augmented, w) and on the strongly augmented (s)
    pictures.

Shapes: student and teacher logits [N, C] of each view.

Source: Jin-Ying/Multi-Level-Logit-Distillation, mdistiller/distillers/KD_ours.py; standardised
    sunshangquan/logit-standardization-KD, mdistiller/distillers/MLKD.py

Differences:
    - The paper has the distributions, samples and classes of low confidence masked. In the published code the
      masks meet terms that are summed already, so they act only as the shares f and h of what they keep.
    - The published code takes the temperatures 2 and 6 of the strong view's group from the weak view, and computes
      CC and BC of the strong view without using them.
    - The published objective gives all of this the weight 0.9 (9 where standardised) and the cross-entropy of
      each of the two views 0.1. The views' cross-entropies are the objective's.
    - Where standardised, the logits are so in KD alone; T is 2 there.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from smskd.errors import require_positive
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import LOGITS, FeatureLayout, Reads, TappedOutputs
from smskd.interfaces.terms import Kind, Method
from smskd.ops.divergences import softened_kl
from smskd.ops.divergences import standardize as standardized
from smskd.ops.precision import full_precision

STRONG_TEMPERATURES = (3.0, 5.0)
WEAK_TEMPERATURES = (2.0, 6.0)
Views = tuple[Tensor, Tensor]


@full_precision
def mlkd_loss(student: Views, teacher: Views, temperature: float, standardize: bool = False) -> dict[str, Tensor]:
    """Divergences and differences of correlations at several temperatures; the loss is the sum of the three.

    Jin et al. 2023; equal to ``KD_ours`` of Jin-Ying/Multi-Level-Logit-Distillation without its weights and its
    cross-entropy.

    Args:
        student: logits [N, classes] of the weak and of the strong view.
        teacher: likewise; receives no gradient.
        temperature: T, positive, beside the fixed 2, 3, 5 and 6.
        standardize: whether logits are standardised in the divergences.

    Returns:
        ``kd`` (divergences), ``cc`` (correlations of classes) and ``bc`` (of samples), scalars.
    """
    weak, strong = ((s, t.detach()) for s, t in zip(student, teacher, strict=True))
    temperatures = (temperature, *STRONG_TEMPERATURES, *WEAK_TEMPERATURES)
    confidence = weak[1].softmax(dim=1)
    samples, classes = _share_up_to_median(confidence.amax(dim=1)), _share_up_to_median(confidence.sum(dim=0))
    probabilities = [tuple((z / t).softmax(dim=1) for z in weak) for t in temperatures]
    if standardize:
        weak, strong = ((standardized(s), standardized(t)) for s, t in (weak, strong))
    on_weak = [softened_kl(*weak, t) for t in temperatures]
    on_strong = [softened_kl(*strong, t) for t in (temperature, *STRONG_TEMPERATURES)]
    extra = on_weak[-len(WEAK_TEMPERATURES) :]
    return {
        "kd": samples * _sum(on_weak) + _sum(on_strong) + _sum(extra),
        "cc": classes * _sum([_gram_difference(s.T, t.T) for s, t in probabilities]),
        "bc": samples * _sum([_gram_difference(s, t) for s, t in probabilities]),
    }


def _share_up_to_median(x: Tensor) -> Tensor:
    return (x <= x.quantile(0.5)).to(x.dtype).mean()


def _gram_difference(student: Tensor, teacher: Tensor) -> Tensor:
    return (student @ student.T - teacher @ teacher.T).square().sum() / len(student)


def _sum(terms: list[Tensor]) -> Tensor:
    return sum(terms[1:], start=terms[0])


@dataclass(frozen=True)
class MLKD(Method):
    """Multi-level logit distillation: predictions of a weak and a strong view, and their correlations, are kept.

    Attributes:
        temperature: one of the five that divide the logits; the others are 2, 3, 5 and 6.
        standardize: whether logits are standardised in the divergences; published then with temperature 2, weight 9.
    """

    temperature: float = 4.0
    standardize: bool = False

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 0.9
    published_ce_weight: ClassVar[float] = 0.1

    def __post_init__(self) -> None:
        require_positive(temperature=self.temperature)

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        """The logits of both models on the pictures and on their strong view."""
        both = (LOGITS, f"{LOGITS}@strong")
        return Reads(both, both)

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        """``kd``, ``cc`` and ``bc``, not weighted."""
        of_student, of_teacher = ((side.logits, side.features[0]) for side in (student, teacher))
        return mlkd_loss(of_student, of_teacher, self.temperature, self.standardize)
