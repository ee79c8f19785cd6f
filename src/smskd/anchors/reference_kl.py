"""The reference KL, weighted sample by sample by the true class probability.

Paper: Integrating Knowledge Distillation Methods: A Sequential Multi-Stage Framework (arXiv 2601.15657).

    L_ref = mean over i of  a_i * T^2 * KL( s_T(z^R_i) || s_T(z^S_i) ),    a_i = s_1(z^R_i)[y_i]

z^R, z^S [N, classes]: logits of reference and student; y [N]: true classes; s_T: softmax at temperature T;
a_i, the true class probability (TCP), carries no gradient. A sample on which the reference was right and sure is
held fast; one on which it was wrong is left to the new method.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

from torch import Tensor

from smskd.errors import UserError, nearest, require_between, require_positive
from smskd.interfaces.terms import Anchor, Kind
from smskd.ops.divergences import softened_kl, true_class_probability

Form = Literal["probability", "complement", "uniform", "auto"]
Source = Literal["reference", "teacher"]
Direction = Literal["forward", "reverse"]


def reference_kl_loss(
    student: Tensor,
    reference: Tensor,
    y: Tensor,
    *,
    temperature: float = 4.0,
    form: Literal["probability", "complement", "uniform"] = "probability",
    direction: Direction = "forward",
    weighting: Tensor | None = None,
) -> Tensor:
    """The TCP-weighted KL divergence between the student and the reference.

    Args:
        student: [N, classes] logits, with gradient.
        reference: [N, classes] logits of the frozen reference.
        y: [N] true classes.
        temperature: of both softmaxes; the loss is multiplied by its square.
        form: a sample's weight: the probability of its true class, one minus that (``complement``), or 1.
        direction: ``forward``: KL(reference || student); ``reverse``: KL(student || reference).
        weighting: [N, classes] logits whose true class probability is taken; the reference's by default.

    Returns:
        The scalar mean over the batch.

    Raises:
        ValueError: another form or direction.
    """
    if form not in ("probability", "complement", "uniform"):
        raise ValueError(f"form must be 'probability', 'complement' or 'uniform', not {form!r}")
    divergence = softened_kl(student, reference.detach(), temperature, reduction="none", direction=direction)
    if form == "uniform":
        return divergence.mean()
    probability = true_class_probability((reference if weighting is None else weighting).detach(), y)
    return (divergence * (probability if form == "probability" else 1 - probability)).mean()


@dataclass(frozen=True)
class ReferenceKL(Anchor):
    """The anchor of SMSKD: :func:`reference_kl_loss` to the previous stage's student.

    Attributes:
        weight: of the loss in the objective (lambda_r; the paper finds 0.3 to 0.5 best). 0: the reference is not
            even run.
        temperature: of the softmaxes in the KL.
        source: whose true class probability weights a sample, ``reference`` or ``teacher``; the paper's text names
            one in one place and the other in another.
        form: ``probability``, as published; ``complement``: 1 - p; ``uniform``: 1; ``auto``: uniform where
            the stage distils relations between samples (RKD, PKT, SP, CC), which TCP weighting is known to hurt a
            little, and probability elsewhere.
        direction: ``forward``: KL(reference || student); ``reverse``: KL(student || reference).
    """

    weight: float = 0.4
    temperature: float = 4.0
    source: Source = "reference"
    form: Form = "probability"
    direction: Direction = "forward"

    def __post_init__(self) -> None:
        require_between(0, math.inf, weight=self.weight)
        require_positive(temperature=self.temperature)
        for name, choices in (("source", Source), ("form", Form), ("direction", Direction)):
            if getattr(self, name) not in get_args(choices):
                raise UserError(
                    f"'{getattr(self, name)}' is not a {name}{nearest(getattr(self, name), get_args(choices))}"
                )

    @property
    def needs_teacher(self) -> bool:
        """Whether the teacher's logits weight the samples."""
        return self.source == "teacher" and self.form != "uniform"

    def resolve(self, kinds: Collection[Kind]) -> Self:
        """``auto`` made ``uniform`` under a relation-based method, ``probability`` elsewhere."""
        if self.form != "auto":
            return self
        return replace(self, form="uniform" if "relation" in kinds else "probability")

    def loss(self, student: Tensor, reference: Tensor, teacher: Tensor | None, y: Tensor) -> Tensor:
        """The scalar loss, not yet weighted; see :class:`smskd.interfaces.terms.Anchor`."""
        if self.needs_teacher and teacher is None:
            raise UserError("an anchor whose source is the teacher needs a teacher")
        weighting = teacher if self.needs_teacher else reference
        if self.form == "auto":
            raise UserError("form: auto is settled by the stage's methods; call settled() first")
        return reference_kl_loss(
            student,
            reference,
            y,
            temperature=self.temperature,
            form=self.form,
            direction=self.direction,
            weighting=weighting,
        )
