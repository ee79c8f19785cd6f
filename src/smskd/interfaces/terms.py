"""Loss terms: the contract that distillation methods and anchors share."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

from torch import Tensor, nn

from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, FeatureModel, ModelInfo, Reads, TappedOutputs

Kind = Literal["response", "feature", "relation"]
"""What a method compares: predictions, features of single samples, or relations between samples."""

ReferenceKind = Literal["previous", "start", "average"]
"""What an anchor takes for the reference: the student at the end of the previous stage (in the first stage, before it),
the student before the first stage, or the moving average of the student over the stage."""

LabelUse = Literal["none", "hard", "mixed"]
"""How a loss reads labels: not at all; one class for each sample; or class probabilities too (``Batch.labels``)."""


@dataclass(frozen=True)
class DataInfo:
    """What a term may know of the training data when it builds its modules."""

    samples: int
    classes: int
    batch_size: int
    labels: Tensor | None = None
    """int64 [samples], the class of each sample in data set order; None where it is not known."""
    mixed_labels: bool = False
    """Whether images and labels are mixed, so that batches have ``targets``."""


@dataclass(frozen=True)
class TermInputs:
    """What the loss of a term is computed from."""

    batch: Batch
    student: TappedOutputs
    """The student's tapped outputs, with gradient."""
    teacher: TappedOutputs = field(default_factory=TappedOutputs)
    """The teacher's, without gradient; empty where the term taps nothing of it."""
    reference: TappedOutputs = field(default_factory=TappedOutputs)
    """The reference model's, without gradient; empty where the term taps nothing of it."""
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    """The student's trainable parameters by name, with gradient, where the term reads weights."""
    reference_weights: Mapping[str, Tensor] = field(default_factory=dict)
    """The reference model's parameters by name, where the term reads weights and there is a reference."""


class Term(ABC):
    """Part of the loss of a stage. A subclass is a frozen dataclass whose fields are its hyper-parameters.

    A term holds no tensors. What it learns or remembers is in the module that :meth:`build` makes.
    """

    relates_samples: ClassVar[bool] = False
    """Whether the loss of a sample depends on the other samples of the batch, so that with several processes the term
    needs the global batch (RKD, SP, PKT, CC, CRD)."""

    needs_labels: ClassVar[bool] = False
    """Whether :meth:`build` reads :attr:`DataInfo.labels`, the label of every training sample (CRD). Of a data set that
    does not list them every sample is then read once, before training."""

    @property
    def label_use(self) -> LabelUse:
        """How it reads labels, of the batch or of :class:`DataInfo` (default: not at all).

        With mixup or CutMix a term that needs one class for each sample (``hard``) is refused before training, and one
        that declares to read no labels has none to read. ``mixed``: its loss is defined for ``Batch.labels``, which are
        class indices [N] or class probabilities [N, classes].
        """
        return "none"

    @abstractmethod
    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """What it reads.

        Args:
            student: what the student offers. The reference model offers the same.
            teacher: what the teacher offers; None where there is no teacher.

        Raises:
            UserError: the models have no features that it could read.
        """

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        """The adapters it trains and the memories it keeps (default: none).

        Args:
            student: of the student.
            teacher: of the model that the student is compared with: the teacher or, in a term that taps only the
                reference, the reference. None where it taps neither.
            data: of the training data.

        Raises:
            UserError: the shapes do not fit.
        """
        return nn.Module()

    @abstractmethod
    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """The loss of a batch in named parts, whose sum is the loss.

        A part is per sample, [N], where the loss of a sample is defined by itself, and a scalar otherwise. The
        objective averages parts per sample over the batch.

        On a GPU the step is captured in a CUDA graph once an epoch and replayed: random numbers come from the device,
        and what is kept from batch to batch is in tensors of ``state``, changed in place.

        Args:
            inputs: the batch and the tapped outputs.
            state: the module that :meth:`build` made.
        """

    def end_of_stage(  # noqa: B027 (optional)
        self, model: FeatureModel, batches: Iterable[Batch], state: nn.Module
    ) -> None:
        """Is called once when a stage is over, before the next one begins (default: nothing happens).

        Of a method, when its own stage is over. Of an anchor, when the stage before its own is over, with the state
        that it will have in its own (EWC estimates the Fisher information there).

        Args:
            model: the student that is frozen as the next stage's reference, in eval mode.
            batches: of one epoch of the training data.
            state: the module that :meth:`build` made, which it may change in place.
        """


@dataclass(frozen=True)
class Pretraining:
    """A phase before the stage in which a method's modules are initialised (FT, AB, FSP).

    Student and teacher run in eval mode, what is trained in train mode; the learning rate stays the same.
    """

    epochs: int
    trains_student: bool = False
    """Whether the student's weights are trained in it too."""
    learning_rate: float | None = None
    """None: the optimizer's."""


class Method(Term):
    """A distillation method. Cross-entropy is never part of it: the objective adds that once."""

    kind: ClassVar[Kind]
    published_weight: ClassVar[float]
    """Weight of the method's loss in the published experiments; the default of a recipe."""
    published_ce_weight: ClassVar[float] = 1.0
    """Weight of the cross-entropy beside it in the published experiments."""
    order_matters: ClassVar[bool] = False
    """Whether the loss of a batch changes with the order of its samples."""
    replaces_head: ClassVar[bool] = False
    """Whether the method's layers become the student's last layers, which then is another network (SimKD)."""
    ce_on_views: ClassVar[bool] = False
    """Whether the cross-entropy is added once more for each further view whose student logits it taps (MLKD)."""

    @abstractmethod
    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        """See :meth:`Term.reads`. A method always has a teacher; under ``toward_reference`` the reference is it."""

    def pretraining(self, student: ModelInfo) -> Pretraining | None:
        """The phase before the stage, if the method has one (default: none)."""
        return None

    def pretraining_loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        """The loss of the phase before the stage, as :meth:`loss`. The parameters of :meth:`pretrained` are trained."""
        raise NotImplementedError(f"{type(self).__name__} has no phase before the stage")

    def pretrained(self, state: nn.Module) -> nn.Module:
        """The part of ``state`` that the phase before the stage trains (default: all of it)."""
        return state

    def head(self, student: TappedOutputs, state: nn.Module) -> TappedOutputs:
        """The student's outputs once the method's layers are its last ones; only where :attr:`replaces_head`.

        The logits of the result are the student's prediction; the result is what :meth:`loss` receives as
        ``inputs.student``.
        """
        return student


class Anchor(Term):
    """Holds a student near a reference: the student as it stood at the end of the previous stage, or its weights.

    Attributes:
        weight: of the loss in the objective (lambda_r). 0: the reference is not run.
    """

    weight: float

    first_stage: ClassVar[bool] = False
    """Whether it can act in the first stage, where the reference is the student before any training (L2-SP from
    pretrained weights)."""

    @property
    def refers_to(self) -> ReferenceKind:
        """What its reference is (default: the student at the end of the previous stage)."""
        return "previous"

    @property
    def average_decay(self) -> float:
        """Decay per step of the average, where that is the reference."""
        return 0.999

    def resolve(self, kinds: Collection[Kind]) -> Self:
        """The anchor for a stage with methods of these kinds, every ``auto`` replaced by a value."""
        return self


@dataclass(frozen=True)
class WeightedMethod:
    """A method in a stage, the name of its part of the loss, and the weight of that part."""

    name: str
    method: Method
    weight: float
