"""A loss term of a stage with what it reads, its modules and its weight."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from smskd.data.loaders.batching import mapped
from smskd.errors import UserError, nearest
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import LOGITS, FeatureLayout, FeatureModel, ModelInfo, Reads, Tap, TappedOutputs
from smskd.interfaces.inputs import InputForm
from smskd.interfaces.terms import DataInfo, Term, TermInputs, WeightedMethod
from smskd.models.frozen import Frozen
from smskd.models.memory_errors import out_of_memory_told
from smskd.objective.tapped_features import model_info, tapped_outputs
from smskd.objective.teachers import Member, members_of


@dataclass(frozen=True)
class ReadModels:
    """The models of a stage that terms read, with what they offer."""

    student: FeatureModel
    student_layout: FeatureLayout
    teacher: Frozen | None
    teacher_layout: FeatureLayout | None
    reference: Frozen | None
    member: Member | None = None
    """The teacher that a method is compared with, where the stage has several."""

    def infos(self, reads: Reads) -> tuple[ModelInfo, ModelInfo | None]:
        """What a term that reads this may know of the student, and of the model that the student is compared with."""
        student = model_info(self.student, self.student_layout, reads.student)
        if reads.teacher and self.member is not None:
            return student, model_info(self.member.model, self.member.layout, reads.teacher)
        if reads.teacher and self.teacher is not None and self.teacher_layout is not None:
            return student, model_info(self.teacher.model, self.teacher_layout, reads.teacher)
        if reads.reference and self.reference is not None:
            return student, model_info(self.reference.model, self.student_layout, reads.reference)
        return student, None


@dataclass(frozen=True)
class BoundTerm:
    """A loss term of a stage.

    Attributes:
        name: of its part of the loss.
        term: the method or anchor.
        weight: of its loss.
        reads: of these models.
        state: the module that it built for them.
        member: the teacher, where the stage has several; :attr:`reads` has the names of its features.
    """

    name: str
    term: Term
    weight: float
    reads: Reads
    state: nn.Module
    member: Member | None = None

    @property
    def teacher_taps(self) -> dict[Tap, Tap]:
        """The taps of :attr:`reads`, and the taps of the stage's teacher that they are."""
        return {tap: tap if self.member is None else self.member.tap(tap) for tap in self.reads.teacher}

    def teacher_outputs(self, outputs: Mapping[Tap, Tensor]) -> TappedOutputs:
        """What it reads of the teacher, from the outputs of the stage's teacher."""
        own = {tap: outputs[there] for tap, there in self.teacher_taps.items()}
        return tapped_outputs(own, self.reads.teacher)

    def inputs(
        self,
        batch: Batch,
        student: Mapping[Tap, Tensor],
        weights: "Weights | None" = None,
    ) -> TermInputs:
        """The term's share of the tensors of a batch, whose frozen outputs have been computed."""
        assert batch.outputs is not None
        return TermInputs(
            self.readable(batch),
            tapped_outputs(student, self.reads.student),
            self.teacher_outputs(batch.outputs.teacher),
            tapped_outputs(batch.outputs.reference, self.reads.reference),
            weights.student() if weights is not None and self.reads.weights else {},
            weights.reference if weights is not None and self.reads.weights else {},
        )

    def readable(self, batch: Batch) -> Batch:
        """The batch with the labels that the term declares to read."""
        return without_labels(batch, self.name) if self.term.label_use == "none" else batch

    def weighted_losses(self, inputs: TermInputs) -> dict[str, Tensor]:
        """Its parts of the loss, averaged over the samples and weighted, by their names in the whole loss."""
        losses = self.term.loss(inputs, self.state)
        if not isinstance(losses, Mapping) or not losses or any(loss.dim() > 1 for loss in losses.values()):
            raise UserError(
                f"{self.name}: loss() must return a dictionary of named parts, each a scalar or per sample, [N]"
            )
        return {
            self.name if len(losses) == 1 else f"{self.name}.{part}": self.weight * _mean(loss)
            for part, loss in losses.items()
        }


class _Withheld(Batch):
    """A batch whose labels cannot be read."""

    reader: str
    original: Batch

    def __getattribute__(self, name: str) -> Any:
        if name in ("y", "targets", "labels"):
            raise UserError(
                f"{object.__getattribute__(self, 'reader')}: it reads batch.{name}, which is mixed, but does not "
                "declare how: give its class the property label_use, 'mixed' or 'hard'"
            )
        return object.__getattribute__(self, name)

    def __getattr__(self, name: str) -> Any:
        """Is called for what the original has not read yet (:class:`smskd.objective.whole_batch.WholeBatch`)."""
        return getattr(object.__getattribute__(self, "original"), name)


def without_labels(batch: Batch, reader: str) -> Batch:
    """A batch for a term that declares to read no labels: where they are mixed, it cannot read them by mistake.

    Args:
        batch: of which everything but labels can be read.
        reader: name of the term, for the message.
    """
    if batch.targets is None:
        return batch
    withheld = object.__new__(_Withheld)
    vars(withheld).update(vars(batch), reader=reader, original=batch)
    return withheld


def selected_rows(batch: Batch, rows: Tensor) -> Batch:
    """Some samples of a batch, int64 [n], without views, keys and outputs of frozen networks."""
    if isinstance(batch, _Withheld):
        return without_labels(selected_rows(batch.original, rows), batch.reader)
    return mapped(replace(batch, views={}, keys=None, outputs=None), lambda tensor: tensor[rows])


def batches_for(term: Term, name: str, batches: Iterable[Batch]) -> Iterator[Batch]:
    """Batches for the end of a stage, without labels where the term declares to read none."""
    return (without_labels(batch, name) if term.label_use == "none" else batch for batch in batches)


class Weights:
    """The parameters that terms read.

    Args:
        student: the network that is trained.
        reference: None where there is none.
        device: of training.
    """

    def __init__(self, student: FeatureModel, reference: Frozen | None, device: torch.device) -> None:
        self._student = student
        named = reference.model.named_parameters() if reference is not None else ()
        self.reference = {name: parameter.detach().to(device) for name, parameter in named}

    def student(self) -> dict[str, Tensor]:
        """The student's trainable parameters by name."""
        return {name: parameter for name, parameter in self._student.named_parameters() if parameter.requires_grad}


def bind(name: str, term: Term, weight: float, reads: Reads, models: ReadModels, data: DataInfo) -> BoundTerm:
    """The term with its modules built for these models.

    Raises:
        UserError: the shapes do not fit, or it needs labels that are not mixed; the message begins with the term's
            name.
    """
    if data.mixed_labels and term.label_use == "hard":
        raise UserError(
            f"{name}: its loss needs one class for each image, and mixup and cutmix (data.augmentation) give shares of "
            "two: turn them off, or choose another method or anchor"
        )
    try:
        with out_of_memory_told(lambda: f"the modules of {name}: lower its sizes"):
            state = term.build(*models.infos(reads), data)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    return BoundTerm(name, term, weight, reads, state, models.member)


def with_members(
    item: WeightedMethod, models: ReadModels, input_form: InputForm
) -> list[tuple[WeightedMethod, ReadModels]]:
    """A method once for each teacher of a stage, with its share of the weight, and the models that it then reads."""
    members = () if models.teacher is None else members_of(models.teacher.model, input_form)
    if len(members) < 2:
        return [(item, models)]
    return [
        (
            replace(item, name=item.name + member.name, weight=item.weight * member.share),
            replace(models, member=member, teacher_layout=member.layout),
        )
        for member in members
    ]


def reads_of(name: str, term: Term, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
    """What a term reads of these models.

    Raises:
        UserError: they have nothing that it could read; the message begins with the term's name.
    """
    try:
        reads = term.reads(student, teacher)
        _check_taps(reads.student, student, "student")
        _check_taps(reads.reference, student, "reference")
        if teacher is not None:
            _check_taps(reads.teacher, teacher, "teacher")
        return reads
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def _check_taps(taps: Sequence[Tap], layout: FeatureLayout, model: str) -> None:
    for tap in taps:
        valid = layout.preactivations if tap.before_relu else {LOGITS, *layout.features}
        if tap.feature not in valid:
            raise UserError(f"it reads '{tap}', which the {model} does not have{nearest(tap.feature, valid)}")


def all_taps(reads: Sequence[Reads], model: str) -> frozenset[Tap]:
    """The taps of a model, ``student``, ``teacher`` or ``reference``, in all of these."""
    return frozenset(tap for own in reads for tap in getattr(own, model))


def _mean(loss: Tensor) -> Tensor:
    return loss.mean() if loss.dim() else loss
