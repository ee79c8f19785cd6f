"""The objective of a stage, as the training loop sees it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureModel


@dataclass(frozen=True)
class Losses:
    """The losses of a batch.

    Attributes:
        total: scalar, to call ``backward()`` on.
        parts: the weighted contributions, scalars whose sum is ``total``: ``ce`` (cross-entropy), a method's name
            (``name.part`` where a method has several parts), ``anchor``.
        logits: [N, classes], the student's.
    """

    total: Tensor
    parts: dict[str, Tensor]
    logits: Tensor


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters with optimizer settings of their own.

    Attributes:
        parameters: to train.
        learning_rate: at the start of the schedule, which scales it as it scales the optimizer's; None: the
            optimizer's.
        weight_decay: None: the optimizer's.
    """

    parameters: tuple[nn.Parameter, ...]
    learning_rate: float | None = None
    weight_decay: float | None = None


class Objective(nn.Module, ABC):
    """The loss of one stage. It is built for the stage and never changed to another.

    A strategy may bring its own. The training loop uses nothing but the members declared here.
    """

    @abstractmethod
    def forward(self, batch: Batch) -> Losses:
        """The losses of a batch. Where ``batch.outputs`` is None, teacher and reference are run."""

    @abstractmethod
    def parameter_groups(self) -> list[ParameterGroup]:
        """What the optimizer trains: the student's parameters, those of the terms, and the objective's own."""

    @property
    @abstractmethod
    def views(self) -> frozenset[str]:
        """The views of the images that it reads beside the one that the student is trained on."""

    @property
    @abstractmethod
    def predictor(self) -> FeatureModel:
        """The network that predicts: the student, with the head of a method that replaces it (SimKD)."""

    @property
    @abstractmethod
    def term_states(self) -> nn.ModuleList:
        """Everything beside the predictor that is learned or remembered within the stage, saved with a checkpoint."""

    def end_of_stage(self, model: FeatureModel, batches: Iterable[Batch]) -> None:
        """Tells every term that the stage is over (default: nothing happens)."""
