"""The objective of a stage for a training loop of one's own."""

from collections.abc import Sequence

from torch import nn

from smskd.errors import UserError
from smskd.interfaces.inputs import Inputs, form_of, rows_of
from smskd.interfaces.terms import Anchor, DataInfo, Method, WeightedMethod
from smskd.models import adapt, describe
from smskd.models.frozen import Frozen
from smskd.objective.parts import StageParts
from smskd.objective.resolve_terms import published_ce_weight, weighted
from smskd.objective.weighted_sum import WeightedSum


def build_objective(
    student: nn.Module,
    teacher: nn.Module | None = None,
    *,
    methods: Sequence[str | Method | WeightedMethod] = (),
    example: Inputs,
    data: DataInfo | None = None,
    ce_weight: float | None = None,
    anchor: Anchor | None = None,
    reference: Frozen | None = None,
) -> WeightedSum:
    """The objective of one stage, for a training loop of your own.

    For the next stage build another one::

        objective = build_objective(student, teacher, methods=["fitnet"], example=images)
        ...  # train the parameters of objective.parameter_groups() on objective((images, labels)).total
        reference = Frozen(objective.predictor, images)
        objective = build_objective(
            objective.predictor, teacher, methods=["kd"], example=images, anchor=ReferenceKL(), reference=reference
        )

    Args:
        student: the network to train: of the zoo, or any ``nn.Module`` from images to logits.
        teacher: the network to learn from; it is copied and frozen, unless it is :class:`smskd.Frozen` already. None
            if no method needs one.
        methods: names, methods or :class:`smskd.WeightedMethod`; none: cross-entropy alone.
        example: one or more images [N, channels, height, width] on the device of training, or samples of several
            tensors by name, for the shapes of the features.
        data: what the methods may know of the training data; CRD needs it, the others do not.
        ce_weight: of the cross-entropy; by default the published one of a single method, 1 otherwise.
        anchor: holds the student near the reference; None: nothing does.
        reference: the student at the end of the previous stage, frozen.

    Raises:
        UserError: a method finds nothing to read in these models, their numbers of classes differ, or there is an
            anchor and no reference.
    """
    items = weighted(methods)
    model = adapt(student, example)
    frozen = teacher if teacher is None or isinstance(teacher, Frozen) else Frozen(adapt(teacher, example), example)
    if anchor is not None and anchor.refers_to != "average" and reference is None:
        raise UserError("an anchor needs a reference: give reference=Frozen(objective.predictor, example)")
    layout = describe(model, form_of(example))
    return WeightedSum(
        StageParts(
            student=model,
            teacher=frozen,
            reference=reference,
            methods=items,
            anchor=anchor.resolve({item.method.kind for item in items}) if anchor is not None else None,
            ce_weight=published_ce_weight(items) if ce_weight is None else ce_weight,
            data=data or DataInfo(samples=0, classes=layout.classes, batch_size=rows_of(example)),
            example=example,
        )
    )
