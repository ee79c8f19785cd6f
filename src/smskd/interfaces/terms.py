"""Loss terms: distillation methods and anchors."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from torch import Tensor, nn

from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads, TappedOutputs

Kind = Literal["response", "feature", "relation"]
"""What a method compares: predictions, features of single samples, or relations between them."""


@dataclass(frozen=True)
class DataInfo:
    """What a method may know of the training data when it builds its modules."""

    samples: int
    classes: int
    batch_size: int
    labels: Tensor | None = None
    """int64 [samples], the class of each sample in data set order; None where it is not known."""


@dataclass(frozen=True)
class Pretraining:
    """A phase before the stage, in which a method's modules are initialised (FT, AB, FSP).

    Student and teacher run in eval mode, what is trained in train mode; the learning rate stays the same.
    """

    epochs: int
    trains_student: bool = False
    """Whether the student's weights are trained in it too."""
    learning_rate: float | None = None
    """None: the optimizer's."""


class Method(ABC):
    """A distillation method. A subclass is a frozen dataclass whose fields are its hyper-parameters.

    It holds no tensors. What it learns or remembers is in the module that :meth:`build` makes. Cross-entropy is
    never part of it: the objective adds that once.
    """

    kind: ClassVar[Kind]
    published_weight: ClassVar[float]
    """Weight of the method's loss in the published experiments; the default of a recipe."""
    published_ce_weight: ClassVar[float] = 1.0
    """Weight of the cross-entropy beside it."""
    order_matters: ClassVar[bool] = False
    """Whether the loss of a batch changes with the order of its samples."""
    replaces_head: ClassVar[bool] = False
    """Whether the method's layers become part of the student, which is then another network (SimKD)."""

    @abstractmethod
    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        """The features it reads.

        Raises:
            UserError: the two models have no features that it could compare.
        """

    def build(self, student: ModelInfo, teacher: ModelInfo, data: DataInfo) -> nn.Module:
        """The adapters it trains and the memories it keeps (default: none).

        Raises:
            UserError: the shapes do not fit.
        """
        return nn.Module()

    def pretraining(self, student: ModelInfo) -> Pretraining | None:
        """The phase before the stage, if the method has one (default: none)."""
        return None

    def pretraining_loss(
        self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module
    ) -> dict[str, Tensor]:
        """The loss of the phase before the stage, in named parts whose sum is minimised. Of ``state``, the parameters
        that :meth:`prepared` names are trained."""
        raise NotImplementedError(f"{type(self).__name__} has no phase before the stage")

    def pretrained(self, state: nn.Module) -> nn.Module:
        """The part of ``state`` that the phase before the stage trains (default: all of it)."""
        return state

    def transform(self, student: TappedOutputs, state: nn.Module) -> TappedOutputs:
        """What the student says once the method's layers are part of it; only where :attr:`replaces_head`."""
        return student

    @abstractmethod
    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        """The method's loss on a batch in named parts, scalars, whose sum is the loss. ``state`` is what
        :meth:`build` made. Where the method transforms the student, ``student`` is transformed already.

        On a GPU it is recorded once an epoch and replayed: random numbers come from the device, and what is kept from
        batch to batch is in tensors of ``state``, changed in place."""


class Anchor(ABC):
    """What holds a student near the reference, the student as it stood at the end of the previous stage."""

    weight: float

    @property
    def needs_teacher(self) -> bool:
        """Whether the loss reads the teacher's logits."""
        return False

    def resolve(self, kinds: Collection[Kind]) -> Self:
        """The anchor for a stage whose methods are of these kinds: a choice left open (``auto``) made."""
        return self

    @abstractmethod
    def loss(self, student: Tensor, reference: Tensor, teacher: Tensor | None, y: Tensor) -> Tensor:
        """The scalar loss, not yet weighted, from the logits [N, classes] of all three and the labels [N]."""


@dataclass(frozen=True)
class WeightedMethod:
    """A method in a stage, the name its loss goes by, and the weight of that loss."""

    name: str
    method: Method
    weight: float
