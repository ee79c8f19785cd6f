"""A loss term with random inputs that fit it: the common ground of the checks of methods and anchors."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from smskd.interfaces.terms import Term, TermInputs

Parts = dict[str, Tensor]


@dataclass(frozen=True)
class Phase:
    """A loss of a term.

    Attributes:
        where: its name in messages.
        parts: the parts of the loss.
        trained: the parameters of the state that are trained with it, by name.
        trains_student: whether it trains the student.
    """

    where: str
    parts: Callable[[nn.Module, TermInputs], Parts]
    trained: Callable[[nn.Module], dict[str, nn.Parameter]]
    trains_student: bool = True

    def under_autocast(self, state: nn.Module, inputs: TermInputs) -> Parts:
        """The parts under bfloat16 autocast."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.parts(state, inputs)


class Case(ABC):
    """A loss term, and models that it accepts."""

    @property
    @abstractmethod
    def term(self) -> Term:
        """The term."""

    @abstractmethod
    def build(self) -> nn.Module:
        """The term's modules for these models."""

    def ready(self) -> nn.Module:
        """The term's modules in the state in which its loss is first computed."""
        return self.build()

    def end_stage(self, state: nn.Module) -> None:  # noqa: B027 (a default, not a missing implementation)
        """Ends a stage (default: nothing happens)."""

    @abstractmethod
    def inputs(self, samples: int = 8, seed: int = 1) -> TermInputs:
        """Inputs of the first samples of the data; the student's tensors are leaves with gradient."""

    @property
    @abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """The losses of the term, that of the stage first."""

    def loss(self, state: nn.Module, inputs: TermInputs) -> Parts:
        """The parts of the loss in the stage."""
        return self.phases[0].parts(state, inputs)


def trainable(state: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained in the stage."""
    return {name: parameter for name, parameter in state.named_parameters() if parameter.requires_grad}
