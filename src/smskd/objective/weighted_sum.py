"""The objective of SMSKD: L = w_c * L_cls + sum of w_d * L_d + w_r * L_ref."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smskd.errors import UserError
from smskd.interfaces.batch import Batch, FrozenOutputs
from smskd.interfaces.features import LOGITS, FeatureLayout, FeatureModel, Reads, Tap, TappedOutputs
from smskd.interfaces.inputs import Inputs
from smskd.interfaces.objective import Losses, Objective, ParameterGroup, PretrainingPhase
from smskd.interfaces.terms import Method, TermInputs, WeightedMethod
from smskd.models import describe
from smskd.objective.bound_term import (
    BoundTerm,
    ReadModels,
    Weights,
    all_taps,
    batches_for,
    bind,
    reads_of,
    with_members,
)
from smskd.objective.frozen_outputs import FrozenNetworks
from smskd.objective.moving_reference import MovingReference
from smskd.objective.parts import StageParts
from smskd.objective.student_head import StudentWithHead
from smskd.objective.tapped_features import read, read_teacher, tapped_outputs
from smskd.objective.whole_batch import TermsOfParts

_LOGITS = Tap(LOGITS)


class WeightedSum(Objective):
    """The weighted sum of the cross-entropy, the methods' losses and the anchor's.

    Args:
        parts: of the stage.

    Raises:
        UserError: a method finds nothing to read in these models, or their numbers of classes differ.
    """

    def __init__(self, parts: StageParts) -> None:
        super().__init__()
        self.parts = parts
        self.student: FeatureModel = parts.student
        self.models = _described(parts)
        self.methods, self.anchor = _bound(parts, self.models)
        self._states = nn.ModuleList([term.state for term in self.terms]).to(parts.device)
        reads = [*(term.reads for term in self.terms), self.own_reads()]
        self._student_taps = all_taps(reads, "student") | {_LOGITS}
        self._views = frozenset[str]().union(*(own.views for own in reads))
        self._class_taps = _class_taps(self.methods)
        self._reference_taps = all_taps(reads, "reference")
        moves = parts.anchor is not None and parts.anchor.refers_to == "average"
        reference = None if moves else parts.reference
        self.frozen = FrozenNetworks(
            parts.teacher,
            reference,
            {there for term in self.terms for there in term.teacher_taps.values()} | set(self.own_reads().teacher),
            () if reference is None else self._reference_taps,
            parts.cache,
            parts.clock,
        )
        self._weights = (
            Weights(parts.student, parts.reference, parts.device) if any(own.weights for own in reads) else None
        )
        self._head = next((term for term in self.methods if _replaces_head(term)), None)
        # In a tuple, so that torch does not register it: its parts are registered already.
        self._predictor = (_with_head(self.models, self._head) if self._head else parts.student,)
        self._average: MovingReference | None = None
        if moves and parts.anchor is not None and self.anchor is not None:
            self._average = MovingReference(self.predictor, parts.anchor.average_decay)
            self._states.append(self._average)
        self._compile_frozen()

    def own_reads(self) -> Reads:
        """What the objective reads beside its terms (here nothing). Methods and models are there when it is called."""
        return Reads()

    @property
    def terms(self) -> tuple[BoundTerm, ...]:
        """The methods, and the anchor where there is one."""
        return self.methods if self.anchor is None else (*self.methods, self.anchor)

    @property
    def views(self) -> frozenset[str]:
        return self._views

    @property
    def predictor(self) -> FeatureModel:
        return self._predictor[0]

    @property
    def term_states(self) -> nn.ModuleList:
        return self._states

    @property
    def anchor_state(self) -> nn.Module | None:
        return None if self.anchor is None else self.anchor.state

    @property
    def sees_images_alone(self) -> bool:
        return self.frozen.sees_images_alone

    @property
    def takes_mixed_labels(self) -> bool:
        return True

    def parameter_groups(self) -> list[ParameterGroup]:
        both = nn.ModuleList([self.student, self._states])  # yields a parameter once that is in both
        return [ParameterGroup(tuple(parameter for parameter in both.parameters() if parameter.requires_grad))]

    @property
    def divides_batches(self) -> bool:
        return True

    def precompute(self, batch: Batch) -> FrozenOutputs:
        with self.parts.sharing.synchronized(batch.part):
            return self.frozen.forward(batch)

    def forward(self, batch: Batch | tuple[Inputs, Tensor]) -> Losses:
        """The losses of a batch.

        Args:
            batch: a :class:`smskd.Batch`, or (images [N, channels, height, width] or tensors by name, labels [N]).
        """
        batch = batch if isinstance(batch, Batch) else Batch(*batch)
        with self.parts.sharing.synchronized(batch.part):
            batch, student = self.outputs(batch)
            own = self._replace_head(student)
            ce = self.parts.ce_weight * self._cross_entropy(student, batch.labels)

        def inputs(term: BoundTerm) -> TermInputs:
            found = term.inputs(batch, student, self._weights)
            return replace(found, student=own) if term is self._head and own is not None else found

        losses = TermsOfParts(batch, self.parts.sharing).losses(self.terms, inputs)
        parts = {"ce": ce, **losses}
        return Losses(torch.stack(list(parts.values())).sum(), parts, student[_LOGITS])

    def outputs(self, batch: Batch | tuple[Inputs, Tensor]) -> tuple[Batch, dict[Tap, Tensor]]:
        """The batch with the outputs of teacher and reference, which are computed where it has none, and the student's.

        Args:
            batch: a :class:`smskd.Batch`, or (images, labels).
        """
        batch = batch if isinstance(batch, Batch) else Batch(*batch)
        if self._average is not None and (batch.part is None or not batch.part.continues):
            self._average.follow(self.predictor)
        drawn = self.parts.sharing.drawn(batch.part, self.parts.device)
        with self.parts.clock.part("student_forward"), drawn:
            student = read(self.parts.extractor or self.student, batch, self._student_taps)
        outputs = self.precompute(batch) if batch.outputs is None else batch.outputs
        if self._average is not None:
            with self.parts.clock.part("reference"):
                outputs = replace(outputs, reference=self._average.outputs(batch, self._reference_taps))
        return replace(batch, outputs=outputs), student

    def pretraining_phases(self) -> list[PretrainingPhase]:
        return [phase for term in self.methods for phase in self._phases_of(term)]

    def end_of_stage(self, model: FeatureModel, batches: Iterable[Batch]) -> None:
        for term in self.methods:
            term.term.end_of_stage(model, batches_for(term.term, term.name, batches), term.state)

    def _phases_of(self, term: BoundTerm) -> list[PretrainingPhase]:
        method = _method(term)
        pretraining = method.pretraining(self.models.infos(Reads(term.reads.student))[0])
        if pretraining is None or pretraining.epochs == 0:
            return []

        def loss(batch: Batch) -> dict[str, Tensor]:
            sharing = self.parts.sharing
            with sharing.synchronized(batch.part):
                drawn = sharing.drawn(batch.part, self.parts.device)
                with torch.set_grad_enabled(pretraining.trains_student), drawn:
                    student = read(self.student, batch, term.reads.student)
                assert self.parts.teacher is not None
                teacher = read_teacher(self.parts.teacher, batch, term.teacher_taps.values())
            inputs = term.inputs(replace(batch, outputs=FrozenOutputs(teacher)), student)
            with TermsOfParts(batch, sharing).seen_by(term, inputs) as seen:
                losses = method.pretraining_loss(seen, term.state)
            return {name: value.mean() if value.dim() else value for name, value in losses.items()}

        trained = method.pretrained(term.state)
        modules = (trained, self.student) if pretraining.trains_student else (trained,)
        return [PretrainingPhase(term.name, pretraining, modules, loss)]

    def _replace_head(self, student: dict[Tap, Tensor]) -> TappedOutputs | None:
        """Puts the logits of the head that replaces the student's in their place; the outputs of that head."""
        if self._head is None:
            return None
        outputs = _method(self._head).head(tapped_outputs(student, self._head.reads.student), self._head.state)
        student[_LOGITS] = outputs.logits
        return outputs

    def _cross_entropy(self, student: Mapping[Tap, Tensor], labels: Tensor) -> Tensor:
        losses = [F.cross_entropy(student[tap], labels) for tap in self._class_taps]
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def _compile_frozen(self) -> None:
        for network, cached in ((self.parts.teacher, self.frozen.cached), (self.parts.reference, False)):
            if network is not None:
                network.compiles = not cached and self.parts.compiles(network)


def _described(parts: StageParts) -> ReadModels:
    student = describe(parts.student, parts.input_form)
    if parts.teacher is None:
        return ReadModels(parts.student, student, None, None, parts.reference)
    teacher = describe(parts.teacher.model, parts.input_form)
    return ReadModels(parts.student, student, parts.teacher, teacher, parts.reference)


def _bound(parts: StageParts, models: ReadModels) -> tuple[tuple[BoundTerm, ...], BoundTerm | None]:
    """The methods, and the anchor, with their modules."""
    layouts = models.student_layout, models.teacher_layout
    for item in parts.methods:
        if parts.teacher is None:
            raise UserError(f"{item.name} distils from a teacher, and there is none")
    methods = tuple(
        _bound_method(item, own, parts)
        for method in parts.methods
        for item, own in with_members(method, models, parts.input_form)
    )
    replacing = [term.name for term in methods if _replaces_head(term)]
    if len(replacing) > 1:
        raise UserError(
            f"{' and '.join(replacing)} both replace the student's last layers; put them into different stages"
        )
    if parts.anchor is None or parts.anchor.weight == 0:
        return methods, None
    if parts.reference is None and parts.anchor.refers_to != "average":
        return methods, None
    own = reads_of("the anchor", parts.anchor, *layouts)
    check_classes("the anchor", layouts, own)
    anchor = bind("anchor", parts.anchor, parts.anchor.weight, own, models, parts.data)
    if parts.anchor_state is not None:
        anchor.state.load_state_dict(parts.anchor_state.state_dict())
    return methods, anchor


def _bound_method(item: WeightedMethod, models: ReadModels, parts: StageParts) -> BoundTerm:
    layouts = models.student_layout, models.teacher_layout
    reads = reads_of(item.name, item.method, *layouts)
    check_classes(item.name, layouts, reads, item.method.replaces_head)
    return bind(item.name, item.method, item.weight, reads, models, parts.data)


def check_classes(
    name: str, layouts: tuple[FeatureLayout, FeatureLayout | None], reads: Reads, replaces_head: bool = False
) -> None:
    """Refuses a teacher of other classes, or without a last layer, where its classes matter.

    Raises:
        UserError: the term reads the teacher's logits, or takes over its last layer.
    """
    student, teacher = layouts
    if teacher is None or student.classes == teacher.classes:
        return
    if replaces_head or any(tap.feature == LOGITS for tap in reads.teacher):
        raise UserError(
            f"{name}: the teacher has {teacher.classes} output classes, the student {student.classes}; methods that "
            "compare features alone take such a teacher"
        )


def _class_taps(methods: Iterable[BoundTerm]) -> list[Tap]:
    """The student's logits that the cross-entropy is taken of: those of the training view, and of each view for which
    a method wants that."""
    wanted = {
        tap
        for term in methods
        if _method(term).ce_on_views
        for tap in term.reads.student
        if tap.feature == LOGITS and not tap.is_logits
    }
    return [_LOGITS, *sorted(wanted)]


def _with_head(models: ReadModels, term: BoundTerm) -> StudentWithHead:
    student, teacher = models.infos(term.reads)
    assert teacher is not None
    return StudentWithHead(models.student, _method(term), term.reads.student, term.state, (student, teacher))


def _replaces_head(term: BoundTerm) -> bool:
    return _method(term).replaces_head


def _method(term: BoundTerm) -> Method:
    assert isinstance(term.term, Method)
    return term.term
