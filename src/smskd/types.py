"""The shapes everything is built from: what a model offers, what a batch carries, what a method and an anchor are."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

from torch import Tensor, nn

Shape = tuple[int, ...]
"""Shape of one sample's feature: (channels, height, width) of a map, (width,) of a vector."""

Kind = Literal["response", "feature", "relation"]
"""What a method compares: predictions, features of single samples, or relations between them."""

LOGITS = "logits"
PREACTIVATION = ".preact"


class FeatureModel(nn.Module, ABC):
    """A network whose features can be read by name.

    The models of the zoo are feature models by themselves; :func:`smskd.models.adapt` makes one of any
    other ``nn.Module``. ``forward(x)`` gives the logits, as of any classifier.
    """

    @property
    @abstractmethod
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features in network order; ``logits`` is not among them."""

    @property
    def preactivation_names(self) -> frozenset[str]:
        """The features that can also be read before their ReLU, under ``<name>.preact``."""
        return frozenset()

    @property
    def classifier(self) -> nn.Linear | None:
        """The last linear layer, if the logits are its output on the pooled features."""
        return None

    def norm_before_relu(self, name: str) -> nn.BatchNorm2d | None:
        """The batch norm whose output is the feature before its ReLU; None where there is no such single layer."""
        return None

    @property
    def wrapped(self) -> nn.Module:
        """The user's own module: what is saved, and given back. Most often the model itself."""
        return self

    @abstractmethod
    def extract(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """The named features (``logits`` and ``<name>.preact`` too) of a batch of pictures.

        Nothing deeper than the deepest of the names is computed where the model allows it.

        Raises:
            KeyError: a name is not one of the model's.
        """


@dataclass(frozen=True)
class Layout:
    """What a model offers to read: each feature's shape for one sample, in network order."""

    features: Mapping[str, Shape]
    classes: int
    preactivations: frozenset[str] = frozenset()

    @property
    def stem(self) -> str | None:
        """The first map, before any stage; None where the model has no feature called ``stem``."""
        return "stem" if "stem" in self.features else None

    @property
    def stages(self) -> tuple[str, ...]:
        """The map that each stage puts out, first to last; the stem is not among them."""
        return tuple(name for name, shape in self.features.items() if len(shape) == 3 and name != "stem")

    @property
    def last_map(self) -> str:
        """The last feature map before pooling."""
        return self.stages[-1]

    @property
    def pooled(self) -> str:
        """The vector that the classifier reads."""
        return [name for name, shape in self.features.items() if len(shape) == 1][-1]

    def before_relu(self, name: str) -> str:
        """The name under which a feature is read before its ReLU; itself where there is none."""
        return name + PREACTIVATION if name in self.preactivations else name


@dataclass(frozen=True)
class Taps:
    """The features that a method reads, by name, in the order in which it receives them.

    ``logits`` as a name asks for the logits, which then arrive in :attr:`Output.logits` and not among the
    features. ``<name>@<view>`` asks for the feature of another view of the pictures, such as ``logits@strong``; it
    arrives among the features. A model runs only as deep as its taps ask for.
    """

    student: tuple[str, ...]
    teacher: tuple[str, ...]


@dataclass(frozen=True)
class Side:
    """What a method knows of the student or of the teacher when it builds its modules."""

    shapes: tuple[Shape, ...]
    """Shape of one sample of each tapped feature (without ``logits``), in the order of the taps."""
    classes: int
    classifier: nn.Linear | None = None
    """The model's own last layer; copy it to keep it."""
    norms: tuple[nn.BatchNorm2d | None, ...] = ()
    """For each tapped feature the batch norm in front of its ReLU, where there is one; the model's own."""
    family: str = ""
    """Name of the model's class."""


@dataclass(frozen=True)
class DataInfo:
    """What a method may know of the training data when it builds its modules."""

    samples: int
    classes: int
    batch_size: int
    labels: Tensor | None = None
    """int64 [samples], the class of each sample in data set order; None where it is not known."""


@dataclass(frozen=True)
class Output:
    """What a model says of a batch, as a method receives it."""

    logits: Tensor
    """[N, classes]; an empty tensor where the method does not tap them."""
    features: tuple[Tensor, ...] = ()
    """The tapped features in the order of the taps."""


@dataclass(frozen=True)
class Progress:
    """Where training stands within its stage."""

    epoch: int = 1
    """Counted from 1 at the start of the stage."""
    epochs: int = 1


@dataclass(frozen=True)
class Draw:
    """Which of all possible pictures a batch holds.

    On the CPU, so that whoever looks something up by it does not wait for the device.
    """

    index: Tensor
    """[N] int64 position of each sample in the data set."""
    epoch: int
    """Number of the epoch, as the loader counts."""
    variant: Tensor | None
    """[N] int64 number of the augmentation variant of each sample; None where they cannot be counted."""
    content: Tensor | None = None
    """[N] int64 checksum of each picture as the data set gave it; None where it always gives the same ones."""


@dataclass(frozen=True)
class FrozenOutputs:
    """What the frozen networks say of the pictures of a batch, by tap."""

    teacher: Mapping[str, Tensor] = field(default_factory=dict)
    reference: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Some training samples."""

    x: Tensor
    """[N, channels, height, width], normalised floats."""
    y: Tensor
    """[N] int64 class indices."""
    index: Tensor | None = None
    """[N] int64 position of each sample in the data set; CRD keeps a memory by it."""
    progress: Progress = field(default_factory=Progress)
    views: Mapping[str, Tensor] = field(default_factory=dict)
    """Other views of the same pictures by name, each shaped as ``x``; ``strong`` is a strong augmentation."""
    draw: Draw | None = None
    """Which pictures ``x`` holds; None where the loader does not tell. The cache of the teacher's outputs asks."""
    outputs: FrozenOutputs | None = None
    """Of teacher and reference, where they were computed beforehand; None: the objective runs them."""


@dataclass(frozen=True)
class Preparation:
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
    published_class_weight: ClassVar[float] = 1.0
    """Weight of the cross-entropy beside it."""
    order_matters: ClassVar[bool] = False
    """Whether the loss of a batch changes with the order of its samples."""
    transforms_student: ClassVar[bool] = False
    """Whether the method's layers become part of the student, which is then another network (SimKD)."""

    @abstractmethod
    def taps(self, student: Layout, teacher: Layout) -> Taps:
        """The features it reads.

        Raises:
            UserError: the two models have no features that it could compare.
        """

    def build(self, student: Side, teacher: Side, data: DataInfo) -> nn.Module:
        """The adapters it trains and the memories it keeps (default: none).

        Raises:
            UserError: the shapes do not fit.
        """
        return nn.Module()

    def preparation(self, student: Side) -> Preparation | None:
        """The phase before the stage, if the method has one (default: none)."""
        return None

    def prepare_loss(self, student: Output, teacher: Output, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        """The loss of the phase before the stage, in named parts whose sum is minimised. Of ``state``, the parameters
        that :meth:`prepared` names are trained."""
        raise NotImplementedError(f"{type(self).__name__} has no phase before the stage")

    def prepared(self, state: nn.Module) -> nn.Module:
        """The part of ``state`` that the phase before the stage trains (default: all of it)."""
        return state

    def transform(self, student: Output, state: nn.Module) -> Output:
        """What the student says once the method's layers are part of it; only where :attr:`transforms_student`."""
        return student

    @abstractmethod
    def loss(self, student: Output, teacher: Output, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
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

    def settled(self, kinds: Collection[Kind]) -> Self:
        """The anchor for a stage whose methods are of these kinds: a choice left open (``auto``) made."""
        return self

    @abstractmethod
    def loss(self, student: Tensor, reference: Tensor, teacher: Tensor | None, y: Tensor) -> Tensor:
        """The scalar loss, not yet weighted, from the logits [N, classes] of all three and the labels [N]."""
