"""Checks of anchors alone: at the reference, at the end of a stage, in the objective."""

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureModel, TappedOutputs
from smskd.interfaces.objective import Objective
from smskd.interfaces.terms import Anchor, TermInputs
from smskd.methods.kd import KD
from smskd.models.frozen import Frozen
from smskd.objective import build_objective
from smskd.testing.anchor_case import AnchorCase, near
from smskd.testing.case import trainable
from smskd.testing.expect import copies, require, require_finite_parts, require_same, total
from smskd.testing.inputs import DATA
from smskd.testing.networks import (
    TEACHER,
    batches,
    frozen_tensors,
    images,
    network,
    require_moved,
    require_no_gradients,
    tensors_of,
    train,
)

_NEIGHBOURS = 4


def at_reference(case: AnchorCase) -> None:
    """The loss of a student that equals the reference is not larger than that of students near it.

    An anchor with trained layers between the two is not checked: it is not a distance.
    """
    state, inputs = case.ready(), case.at_reference()
    if trainable(state):
        return
    here = _value(case, state, inputs)
    for seed in range(_NEIGHBOURS):
        there = _value(case, state, _near(inputs, torch.Generator().manual_seed(seed)))
        message = f"the loss is {here:g} at the reference, and {there:g} near it"
        require(here <= there + 1e-6 * abs(here), message)


def end_of_stage(case: AnchorCase) -> None:
    """At the end of a stage it changes nothing but its state, and its loss is finite afterwards."""
    state, model, epoch = case.build(), case.model.eval(), list(batches())
    before = tensors_of(model), _flags(model), [copies(_tensors(batch)) for batch in epoch]
    case.anchor.end_of_stage(model, epoch, state)
    require_same(tensors_of(model), before[0], "the end of a stage changes the model")
    require(_flags(model) == before[1], "the end of a stage changes requires_grad or the mode of the model")
    idle = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    require(not idle, f"the end of a stage leaves gradients: {', '.join(idle)}")
    for batch, old in zip(epoch, before[2], strict=True):
        require_same(_tensors(batch), old, "the end of a stage changes the batches")
    inputs = case.inputs()
    require_finite_parts(case.loss(state, inputs), len(inputs.batch.y), "the loss after the end of a stage")


def gradients(anchor: Anchor) -> None:
    """In the objective its loss reaches the student, never the reference or the teacher."""
    student, teacher = network(), Frozen(network(TEACHER), images()[:2])
    reference = Frozen(network(), images()[:2])
    objective = _objective(anchor, student, teacher, reference)
    losses = objective(next(batches(objective.views)))
    own = {name: part for name, part in losses.parts.items() if name.partition(".")[0] == "anchor"}
    require_finite_parts(own, len(losses.logits), "the anchor in the objective")
    total(own).backward()  # type: ignore[no-untyped-call]
    reached = [parameter.grad for parameter in student.parameters() if parameter.grad is not None]
    require(any(bool(gradient.abs().max() > 0) for gradient in reached), "no gradient reaches the student")
    require_no_gradients({"teacher": teacher, "reference": reference})


def stages(anchor: Anchor) -> None:
    """It holds the student in the second and third of three stages; teacher and reference stay bit for bit."""
    student, teacher = network(), Frozen(network(TEACHER), images()[:2])
    reference = Frozen(student, images()[:2])
    for number in (2, 3):
        objective = _objective(anchor, student, teacher, reference)
        before, frozen = tensors_of(student), {"teacher": teacher, "reference": reference}
        tensors = frozen_tensors(frozen)
        train(objective, f"stage {number}")
        require_moved(student, before, f"stage {number} leaves the student unchanged")
        require_same(frozen_tensors(frozen), tensors, f"stage {number} changes teacher or reference")
        reference = Frozen(student, images()[:2])


def _objective(anchor: Anchor, student: FeatureModel, teacher: Frozen, reference: Frozen) -> Objective:
    """The objective of a stage with KD, after ``end_of_stage`` of the previous stage."""
    objective = build_objective(
        student,
        teacher,
        methods=[KD()],
        example=images()[:2],
        data=DATA,
        anchor=anchor,
        reference=reference,
    )
    resolved = anchor.resolve({KD.kind})
    resolved.end_of_stage(_copy_of(reference), list(batches()), objective.term_states[-1])
    return objective


def _copy_of(reference: Frozen) -> FeatureModel:
    model = network()
    model.load_state_dict(reference.model.state_dict())
    return model.eval()


def _value(case: AnchorCase, state: nn.Module, inputs: TermInputs) -> float:
    """The loss, computed with a copy of the state."""
    torch.manual_seed(0)
    return float(total(case.loss(copy.deepcopy(state), inputs)).detach())


def _near(inputs: TermInputs, generator: torch.Generator) -> TermInputs:
    student = inputs.student
    logits = near(student.logits, generator) if student.logits.numel() else student.logits
    features = tuple(near(feature, generator) for feature in student.features)
    weights: Mapping[str, Tensor] = {name: near(weight, generator) for name, weight in inputs.weights.items()}
    return replace(inputs, student=TappedOutputs(logits, features), weights=weights)


def _flags(model: FeatureModel) -> list[bool]:
    return [parameter.requires_grad for parameter in model.parameters()] + [m.training for m in model.modules()]


def _tensors(batch: Batch) -> dict[str, Tensor]:
    return {"y": batch.y, **({"x": batch.x} if isinstance(batch.x, Tensor) else batch.x)}
