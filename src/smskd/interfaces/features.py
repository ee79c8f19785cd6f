"""What a model offers to read, and what a loss term reads of it."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

Shape = tuple[int, ...]
"""Shape of one sample's feature: (channels, height, width) of a map, (width,) of a vector."""


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
class FeatureLayout:
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
class Reads:
    """The features that a method reads, by name, in the order in which it receives them.

    ``logits`` as a name asks for the logits, which then arrive in :attr:`TappedOutputs.logits` and not among the
    features. ``<name>@<view>`` asks for the feature of another view of the pictures, such as ``logits@strong``; it
    arrives among the features. A model runs only as deep as its taps ask for.
    """

    student: tuple[str, ...]
    teacher: tuple[str, ...]


@dataclass(frozen=True)
class ModelInfo:
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
class TappedOutputs:
    """What a model says of a batch, as a method receives it."""

    logits: Tensor
    """[N, classes]; an empty tensor where the method does not tap them."""
    features: tuple[Tensor, ...] = ()
    """The tapped features in the order of the taps."""
