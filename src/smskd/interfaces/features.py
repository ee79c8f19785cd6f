"""What a model offers to read, and what a loss term reads of it."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]
"""Shape of one sample's feature: (channels, height, width) of a map, (tokens, width) of a sequence of tokens, (width,)
of a vector."""

LOGITS = "logits"
PREACTIVATION = ".preact"
TRAIN_VIEW = "train"
"""The view of the images that the student is trained on: ``Batch.x``."""


@dataclass(frozen=True)
class Roles:
    """The features that methods read by their role, where a model knows them.

    Attributes:
        stem: the first map, before any stage; None where there is none.
        stages: the output map of each stage, first to last. Maps of 1x1 are left out where there are larger ones: they
            have no spatial structure to compare.
        last_map: the last map before pooling; None where there are no maps.
        pooled: the vector that the classifier reads; None where there is none.
        layers: the hidden states [N, L, C] of each layer of a network that reads sequences of tokens, first to last.
            They are no stages: only methods that leave out padding read them.
        mean_pooled: whether that vector is the mean of the last map over its positions, as far as the classifier is
            concerned. It is not where a class token is read, or where a norm follows the pooling.
    """

    stem: str | None = None
    stages: tuple[str, ...] = ()
    last_map: str | None = None
    pooled: str | None = None
    mean_pooled: bool = False
    layers: tuple[str, ...] = ()


class FeatureModel(nn.Module, ABC):
    """A network whose features can be read by name.

    The models of the zoo are feature models; :func:`smskd.models.adapt` makes one of any other ``nn.Module``.
    ``forward(x)`` returns the logits, as any classifier does.
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
    def roles(self) -> Roles | None:
        """The roles of the features; None: they follow from names and shapes, see :class:`FeatureLayout`."""
        return None

    @property
    def sources(self) -> Mapping[str, str]:
        """Where the features of a network that is wrapped are read: names of its modules, by feature."""
        return {}

    @property
    def classifier(self) -> nn.Linear | None:
        """The last layer, if the logits are its output on the pooled features and it is linear.

        Of a 1x1 convolution it is a linear layer that shares the weights and takes no gradients to them.
        """
        return None

    @property
    def family(self) -> str:
        """Name of the zoo's family of architectures that the model belongs to; empty for any other model."""
        return ""

    def norm_before_relu(self, name: str) -> nn.BatchNorm2d | None:
        """The batch norm whose output is the feature before its ReLU; None where there is no such single layer."""
        return None

    @property
    def wrapped(self) -> nn.Module:
        """The user's own module, which is saved and returned. By default the model itself."""
        return self

    @abstractmethod
    def extract(self, x: Any, names: Collection[str]) -> dict[str, Tensor]:
        """The named features of a batch.

        Nothing deeper than the deepest of the names is computed where the model allows it.

        Args:
            x: images [N, channels, height, width], or tensors by name with N rows each.
            names: of features; ``logits`` and ``<name>.preact`` count as features.

        Raises:
            KeyError: a name is not one of the model's.
        """

    def continue_from(self, name: str, feature: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """The named features that follow from a feature given in place of the model's own.

        Args:
            name: of the feature that is given.
            feature: [N, ...], of the shape that the model itself has there.
            names: of features behind it, ``logits`` among them if wanted.

        Raises:
            NotImplementedError: the model cannot be entered in the middle.
            KeyError: a name is not one of the model's, or does not lie behind ``name``.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot be continued from one of its features")


@dataclass(frozen=True)
class FeatureLayout:
    """Features that a model offers: the shape of each for one sample, in network order.

    Attributes:
        features: shapes by name.
        classes: number of classes.
        preactivations: the features that can also be read before their ReLU.
        roles: of the features. None: they follow from names and shapes. The stem is then the feature of that name, the
            stages are all other maps, the last map is the last of them, and the last vector is the pooled one.
    """

    features: Mapping[str, Shape]
    classes: int
    preactivations: frozenset[str] = frozenset()
    roles: Roles | None = None

    @property
    def stem(self) -> str | None:
        """The first map, before any stage; None where there is none."""
        if self.roles is not None:
            return self.roles.stem
        return "stem" if "stem" in self.features else None

    @property
    def stages(self) -> tuple[str, ...]:
        """The output map of each stage, first to last, without the stem."""
        if self.roles is not None:
            return self.roles.stages
        return tuple(name for name, shape in self.features.items() if len(shape) == 3 and name != "stem")

    @property
    def layers(self) -> tuple[str, ...]:
        """The hidden states [N, L, C] of each layer of a network that reads sequences of tokens; else none."""
        return () if self.roles is None else self.roles.layers

    @property
    def last_map(self) -> str:
        """The last feature map before pooling.

        Raises:
            IndexError: there is none.
        """
        if self.roles is not None and self.roles.last_map is not None:
            return self.roles.last_map
        return self.stages[-1]

    @property
    def pooled(self) -> str:
        """The vector that the classifier reads.

        Raises:
            IndexError: there is none.
        """
        if self.roles is not None and self.roles.pooled is not None:
            return self.roles.pooled
        return [name for name, shape in self.features.items() if len(shape) == 1][-1]

    @property
    def mean_pooled(self) -> bool:
        """Whether the pooled vector is the mean of the last map, so that the classifier can read other maps too."""
        return self.roles is None or self.roles.mean_pooled

    def before_relu(self, name: str) -> str:
        """The name under which a feature is read before its ReLU; the name itself where there is none."""
        return name + PREACTIVATION if name in self.preactivations else name


@dataclass(frozen=True, order=True)
class Tap:
    """One tensor of a model that a loss term reads.

    Its short form is ``feature[.preact][@view]``: ``logits``, ``stage2.preact``, ``logits@strong``.

    Attributes:
        feature: name of a feature, or ``logits``.
        view: of the images; ``train`` is the batch's own, ``strong`` a strong augmentation.
        before_relu: whether the feature is read before its ReLU.
    """

    feature: str
    view: str = TRAIN_VIEW
    before_relu: bool = False

    @classmethod
    def parse(cls, text: "str | Tap") -> "Tap":
        """The tap of a short form; a tap is returned as it is."""
        if isinstance(text, Tap):
            return text
        name, _, view = text.partition("@")
        feature = name.removesuffix(PREACTIVATION)
        return cls(feature, view or TRAIN_VIEW, before_relu=feature != name)

    @property
    def name(self) -> str:
        """Under which :meth:`FeatureModel.extract` gives it."""
        return self.feature + PREACTIVATION if self.before_relu else self.feature

    @property
    def is_logits(self) -> bool:
        """Whether it is the logits of the view that the student is trained on."""
        return self.feature == LOGITS and self.view == TRAIN_VIEW

    def __str__(self) -> str:
        return self.name if self.view == TRAIN_VIEW else f"{self.name}@{self.view}"


def _taps(taps: Iterable[str | Tap]) -> tuple[Tap, ...]:
    return tuple(map(Tap.parse, taps))


@dataclass(frozen=True, init=False)
class Reads:
    """What a loss term reads.

    Args:
        student: taps, or their short forms, in the order in which the term receives the features. The logits of the
            training view arrive in :attr:`TappedOutputs.logits`, everything else among the features. A model is run
            no deeper than its taps.
        teacher: likewise, of the teacher.
        reference: likewise, of the reference model.
        weights: whether it reads the student's parameters, and the reference's where there is one.
    """

    student: tuple[Tap, ...]
    teacher: tuple[Tap, ...]
    reference: tuple[Tap, ...]
    weights: bool

    def __init__(
        self,
        student: Iterable[str | Tap] = (),
        teacher: Iterable[str | Tap] = (),
        reference: Iterable[str | Tap] = (),
        weights: bool = False,
    ) -> None:
        object.__setattr__(self, "student", _taps(student))
        object.__setattr__(self, "teacher", _taps(teacher))
        object.__setattr__(self, "reference", _taps(reference))
        object.__setattr__(self, "weights", weights)

    @property
    def views(self) -> frozenset[str]:
        """The views of the images that it needs beside the one that the student is trained on."""
        taps = (*self.student, *self.teacher, *self.reference)
        return frozenset(tap.view for tap in taps) - {TRAIN_VIEW}


@dataclass(frozen=True)
class ModelInfo:
    """What a loss term knows of a model when it builds its modules."""

    shapes: tuple[Shape, ...]
    """Shape of one sample of each tapped feature (without ``logits``), in the order of the taps."""
    classes: int
    classifier: nn.Linear | None = None
    """The model's own last layer; copy it to keep it."""
    norms: tuple[nn.BatchNorm2d | None, ...] = ()
    """For each tapped feature the batch norm in front of its ReLU, where there is one; the model's own."""
    family: str = ""
    """:attr:`FeatureModel.family`."""
    mean_pooled: bool = True
    """:attr:`FeatureLayout.mean_pooled`."""


def _no_logits() -> Tensor:
    return torch.empty(0)


@dataclass(frozen=True)
class TappedOutputs:
    """The outputs of a model for a batch that a loss term reads."""

    logits: Tensor = field(default_factory=_no_logits)
    """[N, classes]; an empty tensor where the term does not tap them."""
    features: tuple[Tensor, ...] = ()
    """The tapped features in the order of the taps."""

    def detached(self) -> Self:
        """The same values without gradient."""
        return type(self)(self.logits.detach(), tuple(feature.detach() for feature in self.features))
