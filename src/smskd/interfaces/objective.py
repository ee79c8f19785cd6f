"""The objective of a stage, as the training loop sees it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from smskd.interfaces.batch import Batch, FrozenOutputs
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.terms import Pretraining


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
        learning_rate_scale: multiplies the learning rate, whichever it is.
    """

    parameters: tuple[nn.Parameter, ...]
    learning_rate: float | None = None
    weight_decay: float | None = None
    learning_rate_scale: float = 1.0


@dataclass(frozen=True)
class PretrainingPhase:
    """A phase before the stage in which modules are initialised.

    Attributes:
        name: of the method whose modules they are.
        pretraining: its length and learning rate.
        modules: whose parameters are trained.
        loss: the loss of a batch in named parts, scalars, whose sum is minimised.
    """

    name: str
    pretraining: Pretraining
    modules: tuple[nn.Module, ...]
    loss: Callable[[Batch], dict[str, Tensor]]


class Objective(nn.Module, ABC):
    """The loss of one stage. It is built for the stage and never changed to another.

    A strategy may bring its own: five abstract members, and those with a default where it needs them. The training loop
    uses nothing but the members declared here.
    """

    @abstractmethod
    def forward(self, batch: Batch) -> Losses:
        """The losses of a batch. Where ``batch.outputs`` is None, teacher and reference are run."""

    def precompute(self, batch: Batch) -> FrozenOutputs:
        """The outputs of the frozen networks that :meth:`forward` reads (default: none).

        They depend on the images alone, so that the training loop may ask for several batches at once, and outside of
        what is captured in a CUDA graph.
        """
        return FrozenOutputs()

    @property
    def sees_images_alone(self) -> bool:
        """Whether :meth:`precompute` gives for an image the same whichever images are beside it."""
        return True

    @property
    def takes_mixed_labels(self) -> bool:
        """Whether its losses are defined for ``Batch.targets``, of images that mixup and CutMix have mixed (default:
        no; a run with both is refused before training)."""
        return False

    @property
    def divides_batches(self) -> bool:
        """Whether its loss of a batch is the mean, weighted by the numbers of rows, of what :meth:`forward` gives for
        the parts of several processes (``Batch.part``). By default each process trains on the whole batch, which is
        right for every loss, and no faster."""
        return False

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

    @property
    def anchor_state(self) -> nn.Module | None:
        """The state of the stage's anchor, which goes on into the next stage where an equal anchor acts."""
        return None

    def pretraining_phases(self) -> list[PretrainingPhase]:
        """The phases before the stage (default: none)."""
        return []

    def end_of_stage(self, model: FeatureModel, batches: Iterable[Batch]) -> None:
        """Calls :meth:`Term.end_of_stage` of the stage's methods (default: nothing happens)."""
