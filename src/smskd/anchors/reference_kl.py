r"""Reference KL: divergence from the previous stage's predictions, weighted by the true class probability.

Paper: Integrating Knowledge Distillation Methods: A Sequential Multi-Stage Framework

arXiv: 2601.15657

Formula:
    L = \frac{1}{N} \sum_{i=1}^{N} a_i T^2 \, \mathrm{KL}(\sigma_T(z^r_i) \,\|\, \sigma_T(z^s_i)),
    a_i = \sigma_1(z^r_i)_{y_i}

Reads: the logits of student and reference; the teacher's too where `tcp_from` is `teacher`.

Shapes: logits [N, C], labels y [N].

Source: the paper; no code is published.

Differences:
    - a_i, the true class probability (TCP), carries no gradient. A sample that the reference classifies correctly and
      with confidence is held tightly, one that it misclassifies is left to the stage's methods.
    - The paper takes the TCP of the reference in one place and of the teacher in another: `tcp_from`.
    - Of images that mixup or CutMix has mixed, a_i is the mean of the probabilities of both classes, by their shares:
      the probability that is expected of a class drawn by the mixed label.
    - The other weights (`tcp`), the reverse divergence (`kl`) and the temperature are ablations of the paper.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

from torch import Tensor, nn

from smskd.errors import UserError, nearest, require_between, require_positive
from smskd.interfaces.features import LOGITS, FeatureLayout, Reads
from smskd.interfaces.terms import Anchor, Kind, LabelUse, TermInputs
from smskd.ops.divergences import softened_kl, true_class_probability

SampleWeight = Literal["probability", "complement", "none"]
TCP = Literal["probability", "complement", "none", "auto"]
TCPFrom = Literal["reference", "teacher"]
KL = Literal["forward", "reverse"]


def reference_kl_loss(
    student_logits: Tensor,
    reference_logits: Tensor,
    y: Tensor | None,
    *,
    temperature: float = 4.0,
    tcp: SampleWeight = "probability",
    kl: KL = "forward",
    tcp_logits: Tensor | None = None,
    reduction: Literal["mean", "none"] = "mean",
) -> Tensor:
    """T^2 times the KL divergence between student and reference, weighted by the true class probability (TCP).

    SMSKD, arXiv 2601.15657.

    Args:
        student_logits: [N, classes].
        reference_logits: [N, classes]; receives no gradient.
        y: [N] int64 class indices, or [N, classes] class probabilities of mixed images, whose true class probability
            is the mean over them; not read with ``tcp`` ``none``.
        temperature: T of both softmaxes, positive.
        tcp: the weight of a sample: the probability of its true class (``probability``), one minus that
            (``complement``), or 1 (``none``).
        kl: ``forward``: KL(reference || student); ``reverse``: KL(student || reference).
        tcp_logits: [N, classes] logits of the network whose TCP is taken, at temperature 1; receives no gradient.
            Default: ``reference_logits``.
        reduction: ``mean`` over the batch, or ``none``.

    Returns:
        A scalar, or [N] where nothing is reduced.

    Raises:
        ValueError: another ``tcp``, ``kl`` or ``reduction``; no ``y`` where it is read.
    """
    if tcp not in get_args(SampleWeight):
        raise ValueError(f"tcp must be 'probability', 'complement' or 'none', not {tcp!r}")
    if kl not in get_args(KL):
        raise ValueError(f"kl must be 'forward' or 'reverse', not {kl!r}")
    if reduction not in ("mean", "none"):
        raise ValueError(f"reduction must be 'mean' or 'none', not {reduction!r}")
    losses = softened_kl(student_logits, reference_logits, temperature, "none", kl)
    if tcp != "none":
        if y is None:
            raise ValueError(f"tcp {tcp!r} needs y")
        probability = true_class_probability(reference_logits if tcp_logits is None else tcp_logits, y)
        losses = losses * (probability if tcp == "probability" else 1 - probability)
    return losses.mean() if reduction == "mean" else losses


@dataclass(frozen=True)
class ReferenceKL(Anchor):
    """The anchor of SMSKD: the student keeps the predictions that it made at the end of the previous stage.

    Attributes:
        weight: weight of the loss in the objective (lambda_r), 0 or more; the paper finds 0.3 to 0.5 best. 0: the
            reference is not run.
        temperature: T of both softmaxes in the KL divergence.
        tcp: weight of a sample. ``probability``: the probability p of its true class, as published; ``complement``:
            1 - p; ``none``: 1; ``auto``: ``none`` in a stage with a relation-based method (RKD, PKT, SP, CC), which
            TCP weighting slightly degrades in the paper, and ``probability`` in any other.
        tcp_from: the network whose true class probability is taken, ``reference`` or ``teacher``.
        kl: direction of the divergence. ``forward``: KL(reference || student); ``reverse``: KL(student || reference).
    """

    weight: float = 0.4
    temperature: float = 4.0
    tcp: TCP = "probability"
    tcp_from: TCPFrom = "reference"
    kl: KL = "forward"

    def __post_init__(self) -> None:
        require_between(0, math.inf, weight=self.weight)
        require_positive(temperature=self.temperature)
        for name, choices in (("tcp", TCP), ("tcp_from", TCPFrom), ("kl", KL)):
            value = getattr(self, name)
            if value not in get_args(choices):
                raise UserError(f"unknown {name} '{value}'{nearest(str(value), get_args(choices))}")

    def resolve(self, kinds: Collection[Kind]) -> Self:
        """``auto`` becomes ``none`` in a stage with a relation-based method, and ``probability`` in any other."""
        if self.tcp != "auto":
            return self
        return replace(self, tcp="none" if "relation" in kinds else "probability")

    @property
    def label_use(self) -> LabelUse:
        """Mixed labels, where the true class probability is a weight: its mean over them."""
        return "none" if self.tcp == "none" else "mixed"

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The logits of student and reference, and of the teacher where its true class probability is the weight.

        Raises:
            UserError: there is no teacher to take the true class probability from.
        """
        if not self._weighted_by_teacher:
            return Reads((LOGITS,), reference=(LOGITS,))
        if teacher is None:
            raise UserError("reference_kl: tcp_from 'teacher' needs a teacher; choose tcp_from 'reference'")
        return Reads((LOGITS,), (LOGITS,), (LOGITS,))

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``kl``: :func:`reference_kl_loss` for each sample, [N].

        Raises:
            UserError: ``tcp`` is still ``auto``.
        """
        if self.tcp == "auto":
            raise UserError("reference_kl: tcp 'auto' depends on the methods of the stage; call resolve() first")
        losses = reference_kl_loss(
            inputs.student.logits,
            inputs.reference.logits,
            inputs.batch.labels if self.tcp != "none" else None,
            temperature=self.temperature,
            tcp=self.tcp,
            kl=self.kl,
            tcp_logits=inputs.teacher.logits if self._weighted_by_teacher else None,
            reduction="none",
        )
        return {"kl": losses}

    @property
    def _weighted_by_teacher(self) -> bool:
        return self.tcp_from == "teacher" and self.tcp != "none"
