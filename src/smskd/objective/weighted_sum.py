"""The objective of a stage: L = w_c * L_cls + sum of w_d * L_distill + w_r * L_ref."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smskd.errors import UserError
from smskd.interfaces.batch import Batch, FrozenOutputs
from smskd.interfaces.features import LOGITS, FeatureLayout, FeatureModel, ModelInfo, Reads
from smskd.interfaces.terms import Anchor, DataInfo, Method, WeightedMethod
from smskd.models import adapt, describe
from smskd.models.compiled import CompiledStudent
from smskd.models.frozen import Frozen
from smskd.objective.resolve_terms import published_ce_weight, weighted
from smskd.objective.student_head import StudentWithHead
from smskd.objective.tapped_features import output, read, side, views
from smskd.teacher_cache import TeacherCache
from smskd.timing import IDLE, Clock


@dataclass(frozen=True)
class Losses:
    """What the objective says of a batch.

    Attributes:
        total: scalar, to call ``backward()`` on.
        parts: the weighted contributions, whose sum is ``total``: ``class`` (cross-entropy), a method's name
            (or ``name.part`` where a method has several), ``anchor``.
        logits: [N, classes], the student's.
    """

    total: Tensor
    parts: dict[str, Tensor]
    logits: Tensor


class Objective(nn.Module):
    """The loss of one stage after another, for the training loop of :mod:`smskd.training.epoch` or one of your own.

    Args:
        student: the model to train: of the zoo, or any ``nn.Module`` from pictures to logits.
        teacher: the model to learn from; it is copied and frozen. None if no method needs one.
        methods: the first stage's: names, methods or :class:`WeightedMethod`; none: cross-entropy alone.
        example: one or more pictures [N, channels, height, width], for the shapes of the features.
        data: what the methods may know of the training data; CRD needs it, the others do not.
        ce_weight: of the cross-entropy; by default the published one of a single method, 1 otherwise.

    Raises:
        UserError: a method finds nothing to read in these models, or their class counts differ.

    Example:
        >>> objective = Objective(student, teacher, methods=["fitnet"], example=images)
        >>> losses = objective(Batch(images, labels))
        >>> losses.total.backward()
        >>> objective.next_stage(["kd"], anchor=ReferenceKL())
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module | None = None,
        *,
        methods: Sequence[str | Method | WeightedMethod] = (),
        example: Tensor,
        data: DataInfo | None = None,
        ce_weight: float | None = None,
    ) -> None:
        super().__init__()
        self.example = example
        self.clock = IDLE
        self.cache: TeacherCache | None = None
        """Of the teacher's outputs; used from the next stage on."""
        image_shape = (int(example.shape[1]), int(example.shape[2]), int(example.shape[3]))
        self.student: FeatureModel = adapt(student, example)
        self.student_layout = describe(self.student, image_shape)
        self.teacher: Frozen | None = None
        self.teacher_layout: FeatureLayout | None = None
        if teacher is not None:
            self.teacher = teacher if isinstance(teacher, Frozen) else Frozen(adapt(teacher, example), example)
            self.teacher_layout = describe(self.teacher.model, image_shape)
            _same_classes(self.student_layout, self.teacher_layout)
        self.data = data or DataInfo(samples=0, classes=self.student_layout.classes, batch_size=len(example))
        self.reference: Frozen | None = None
        self.anchor: Anchor | None = None
        self._transformed: tuple[StudentWithHead, ...] = ()
        self.begin_stage(methods, ce_weight=ce_weight)

    def next_stage(
        self,
        methods: Sequence[str | Method | WeightedMethod],
        *,
        anchor: Anchor | None = None,
        ce_weight: float | None = None,
    ) -> None:
        """Freezes a copy of the student as it is now as the reference, replacing an older one, and goes on with
        other methods.

        Args:
            methods: the new stage's.
            anchor: holds the student near the reference; None: nothing does.
            ce_weight: as at the start.

        The parameters that the new methods train are new: give :meth:`trainable` to the optimizer again.
        """
        self.begin_stage(methods, ce_weight=ce_weight, anchor=anchor, reference=self.frozen())

    def begin_stage(
        self,
        methods: Sequence[str | Method | WeightedMethod],
        *,
        ce_weight: float | None = None,
        anchor: Anchor | None = None,
        reference: Frozen | None = None,
    ) -> None:
        """Goes on with other methods, and the reference that is given.

        A student that the stage before has transformed is the student from now on.
        """
        self.student = self.predictor
        self.compiled: CompiledStudent | None = None
        self.methods = weighted(methods)
        self.ce_weight = published_ce_weight(self.methods) if ce_weight is None else ce_weight
        self.anchor = anchor.resolve({item.method.kind for item in self.methods}) if anchor else None
        self.reference = reference if self.anchor and self.anchor.weight > 0 else None
        self.taps = [self._taps(item) for item in self.methods]
        self.states = nn.ModuleList([self._built(*pair) for pair in zip(self.methods, self.taps, strict=True)])
        self.states.to(next(self.student.parameters()).device)
        self._student_taps = frozenset({LOGITS}.union(*(taps.student for taps in self.taps)))
        self._teacher_taps = frozenset[str]().union(*(taps.teacher for taps in self.taps))
        if self.reference and self.anchor and self.anchor.needs_teacher:
            if self.teacher is None:
                raise UserError("an anchor whose source is the teacher needs a teacher")
            self._teacher_taps |= {LOGITS}
        self.cached = self.cache is not None and self.cache.covers(self._teacher_taps)
        # In a tuple, so that torch does not register it: its parts are registered already.
        self._transformed = self._transformation()

    def frozen(self) -> Frozen:
        """A frozen copy of the student as it is now, the reference of a stage to come."""
        return Frozen(self.predictor, self.example)

    def teacher_taps(self, methods: Sequence[WeightedMethod], anchor: Anchor | None) -> frozenset[str]:
        """What a stage with these methods and this anchor will read of the teacher; nothing where the methods find
        nothing in the student as it is now."""
        own = {LOGITS} if anchor is not None and anchor.weight > 0 and anchor.needs_teacher else set()
        try:
            return frozenset(own.union(*(self._taps(item).teacher for item in methods)))
        except UserError:
            return frozenset()

    @property
    def views(self) -> frozenset[str]:
        """The views, beside the batch's own pictures, that the stage's methods read."""
        return views(self._student_taps | self._teacher_taps)

    @property
    def predictor(self) -> FeatureModel:
        """What predicts: the student, or the student with the layers of a method that transforms it (SimKD)."""
        return self._transformed[0] if self._transformed else self.student

    def trainable(self) -> Iterator[nn.Parameter]:
        """The parameters to optimise: the student's and the methods' own."""
        both = nn.ModuleList([self.student, self.states])  # names a parameter once that is in both
        yield from (parameter for parameter in both.parameters() if parameter.requires_grad)

    def forward(self, batch: Batch | tuple[Tensor, Tensor]) -> Losses:
        """The losses of a batch.

        Args:
            batch: a :class:`smskd.Batch`, or (pictures [N, channels, height, width], labels [N]).
        """
        if not isinstance(batch, Batch):
            batch = Batch(*batch)
        with self.clock.part("student_forward"):
            student = read(self.compiled or self.student, batch, self._student_taps)
        frozen = batch.outputs or self.frozen_forward(batch, self.clock)
        outputs = [output(student, taps.student) for taps in self.taps]
        for place, (item, state) in enumerate(zip(self.methods, self.states, strict=True)):
            if item.method.replaces_head:
                outputs[place] = item.method.transform(outputs[place], state)
                student[LOGITS] = outputs[place].logits
        parts = {"class": self.ce_weight * self._cross_entropy(student, batch.y)}
        for item, own, taps, state in zip(self.methods, outputs, self.taps, self.states, strict=True):
            losses = item.method.loss(own, output(frozen.teacher, taps.teacher), batch, state)
            for name, loss in losses.items():
                key = item.name if len(losses) == 1 else f"{item.name}.{name}"
                parts[key] = item.weight * loss
        logits = student[LOGITS]
        if self.reference is not None and self.anchor is not None:
            loss = self.anchor.loss(logits, frozen.reference[LOGITS], frozen.teacher.get(LOGITS), batch.y)
            parts["anchor"] = self.anchor.weight * loss
        return Losses(torch.stack(list(parts.values())).sum(), parts, logits)

    def frozen_forward(self, batch: Batch, clock: Clock = IDLE) -> FrozenOutputs:
        """What teacher and reference say of a batch, as far as the stage reads it; the clock times both."""
        with clock.part("teacher") if self._teacher_taps else nullcontext():
            teacher = self._teacher_outputs(batch)
        if self.reference is None:
            return FrozenOutputs(teacher)
        with clock.part("reference"):
            return FrozenOutputs(teacher, read(self.reference, batch, {LOGITS}))

    def prepare(self, place: int, batch: Batch, *, trains_student: bool) -> dict[str, Tensor]:
        """The losses of the phase before the stage, of the method at this place."""
        item, taps, state = self.methods[place], self.taps[place], self.states[place]
        with torch.set_grad_enabled(trains_student):
            student = output(read(self.student, batch, taps.student), taps.student)
        teacher = output(read(self.teacher, batch, taps.teacher), taps.teacher)
        return item.method.pretraining_loss(student, teacher, batch, state)

    def student_side(self, place: int) -> ModelInfo:
        """What the method at this place knows of the student."""
        return side(self.student, self.student_layout, self.taps[place].student)

    def generators(self) -> list[torch.Generator]:
        """The random numbers of the methods' own."""
        found = (getattr(module, "generator", None) for module in self.states.modules())
        return [generator for generator in found if isinstance(generator, torch.Generator)]

    def _teacher_outputs(self, batch: Batch) -> dict[str, Tensor]:
        if self.cached and self.cache is not None:
            found: dict[str, Tensor] | None = self.cache.read(batch, self._teacher_taps)
            if found is not None:
                return found
        return read(self.teacher, batch, self._teacher_taps)

    @staticmethod
    def _cross_entropy(student: dict[str, Tensor], y: Tensor) -> Tensor:
        """Cross-entropy, once for each view whose logits are read."""
        views = [tensor for name, tensor in student.items() if name.partition("@")[0] == LOGITS]
        return torch.stack([F.cross_entropy(logits, y) for logits in views]).sum()

    def _taps(self, item: WeightedMethod) -> Reads:
        if self.teacher_layout is None:
            raise UserError(f"{item.name} distils from a teacher, and there is none")
        try:
            return item.method.taps(self.student_layout, self.teacher_layout)
        except UserError as error:
            raise UserError(f"{item.name}: {error}") from None

    def _built(self, item: WeightedMethod, taps: Reads) -> nn.Module:
        try:
            return item.method.build(*self._sides(taps), self.data)
        except UserError as error:
            raise UserError(f"{item.name}: {error}") from None

    def _sides(self, taps: Reads) -> tuple[ModelInfo, ModelInfo]:
        assert self.teacher is not None
        assert self.teacher_layout is not None
        student = side(self.student, self.student_layout, taps.student)
        return student, side(self.teacher.model, self.teacher_layout, taps.teacher)

    def _transformation(self) -> tuple[StudentWithHead, ...]:
        made = [
            StudentWithHead(self.student, item.method, taps.student, state, self._sides(taps))
            for item, taps, state in zip(self.methods, self.taps, self.states, strict=True)
            if item.method.replaces_head
        ]
        if len(made) > 1:
            names = " and ".join(item.name for item in self.methods if item.method.replaces_head)
            raise UserError(f"{names} both replace the student's last layers; put them into different stages")
        return tuple(made)


def _same_classes(student: FeatureLayout, teacher: FeatureLayout) -> None:
    if student.classes != teacher.classes:
        raise UserError(f"the teacher tells {teacher.classes} classes apart and the student {student.classes}")
