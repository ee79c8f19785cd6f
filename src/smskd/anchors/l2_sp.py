r"""L2-SP: L2 distance of the student's weights from a starting point.

Paper: Li, Grandvalet, Davoine: Explicit Inductive Bias for Transfer Learning with Convolutional Networks, ICML 2018

arXiv: 1802.01483

Formula:
    L = \frac{1}{2} \sum_{i \in S} \|w^s_i - w^r_i\|^2

Reads: the trainable parameters of the student, and those of the reference of the same names.

Shapes: any; S holds the parameters that both networks have in the same shape.

Source: holyseven/TransferLearningClassification, model/network_base.py (weight decay modes 1 and 101)

Differences:
    - The reference is the student at the end of the previous stage or, in the first stage and with `toward: start` in
      every stage, the student before training, which should then be pretrained, as in the paper.
    - The paper adds beta/2 ||w||^2 of the parameters that the starting point lacks (a new last layer). Here they are
      left to the optimizer's weight decay, and so are all others: to decay towards the reference alone, as in the
      paper, set the optimizer's weight decay to 0.
    - The published experiments penalise kernels and matrices alone (mode 1); `parameters: all` adds the biases and
      the scale and shift of batch norms (mode 101). Running statistics are no parameters and are never penalised.
    - alpha of the paper is `weight`; 0.01 is the default of the published code.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from smskd.errors import UserError, nearest, require_between
from smskd.interfaces.features import FeatureLayout, Reads
from smskd.interfaces.terms import Anchor, ReferenceKind, TermInputs
from smskd.ops.precision import full_precision

Parameters = Literal["weights", "all"]
Toward = Literal["previous", "start"]


def l2_sp_loss(weights: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> Tensor:
    """Half of the squared L2 distance between two sets of weights.

    Li et al. 2018, arXiv 1802.01483.

    Args:
        weights: of the student, by name.
        reference: of the starting point, by name, each in the shape of the student's; receives no gradient. Further
            names are ignored.

    Returns:
        A scalar, summed over all elements.
    """
    return _half_squared_distance(list(weights.values()), [reference[name].detach() for name in weights])


@full_precision
def _half_squared_distance(weights: list[Tensor], reference: list[Tensor]) -> Tensor:
    squares = [(weight - start).square().sum() for weight, start in zip(weights, reference, strict=True)]
    return torch.stack(squares).sum() / 2


@dataclass(frozen=True)
class L2SP(Anchor):
    """L2-SP: the student's weights are pulled towards those of the reference.

    It can act in the first stage, with the student before training as the reference.

    Attributes:
        weight: weight of the loss in the objective (alpha of the paper), 0 or more.
        parameters: which parameters are pulled. ``weights``: those of two or more dimensions (kernels and matrices),
            as published; ``all``: biases and the scale and shift of norms too.
        exclude: names of parameters, or of modules whose parameters, are left free, such as the new last layer of a
            pretrained network in the first stage. Parameters that the reference lacks, or has in another shape,
            always are.
        toward: the student at the end of the ``previous`` stage, or at the ``start`` of the run.
    """

    weight: float = 0.01
    parameters: Parameters = "weights"
    exclude: tuple[str, ...] = ()
    toward: Toward = "previous"

    first_stage: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_between(0, math.inf, weight=self.weight)
        if self.parameters not in get_args(Parameters):
            raise UserError(
                f"unknown parameters '{self.parameters}'{nearest(str(self.parameters), get_args(Parameters))}"
            )
        if self.toward not in get_args(Toward):
            raise UserError(f"unknown toward '{self.toward}'{nearest(str(self.toward), get_args(Toward))}")
        if isinstance(self.exclude, str):
            raise UserError(f"exclude must be a list of names, not '{self.exclude}'")
        object.__setattr__(self, "exclude", tuple(self.exclude))

    @property
    def refers_to(self) -> ReferenceKind:
        """``toward``."""
        return self.toward

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """The weights of student and reference."""
        return Reads(weights=True)

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """``l2_sp``: :func:`l2_sp_loss` over the shared parameters, a scalar.

        Raises:
            UserError: a name of ``exclude`` is not one of the student's, or student and reference share no parameter.
        """
        for name in self.exclude:
            if not any(_belongs(parameter, name) for parameter in inputs.weights):
                raise UserError(f"l2_sp: exclude: the student has no trainable parameter '{name}'")
        pulled = {name: weight for name, weight in inputs.weights.items() if self._pulls(name, weight, inputs)}
        if not pulled:
            raise UserError("l2_sp: student and reference share no trainable parameter that could be compared")
        return {"l2_sp": l2_sp_loss(pulled, inputs.reference_weights)}

    def _pulls(self, name: str, weight: Tensor, inputs: TermInputs) -> bool:
        start = inputs.reference_weights.get(name)
        if start is None or start.shape != weight.shape or (self.parameters == "weights" and weight.dim() < 2):
            return False
        return not any(_belongs(name, excluded) for excluded in self.exclude)


def _belongs(parameter: str, name: str) -> bool:
    return parameter == name or parameter.startswith(name + ".")
