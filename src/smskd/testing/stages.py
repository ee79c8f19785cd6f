"""A method in the objective, with two small networks: gradients, consecutive stages, a stage shared with KD."""

from collections.abc import Sequence

from torch import Tensor

from smskd.anchors.reference_kl import ReferenceKL
from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.objective import Objective
from smskd.interfaces.terms import Method
from smskd.methods.fitnet import FitNet
from smskd.methods.kd import KD
from smskd.models.frozen import Frozen
from smskd.objective import build_objective
from smskd.testing.expect import require, require_finite_parts, require_same
from smskd.testing.inputs import DATA
from smskd.testing.method_case import method_case
from smskd.testing.networks import (
    STUDENT,
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


def gradients(method: Method) -> None:
    """The loss reaches the student and the method's trained parameters, never the teacher or the reference."""
    student, teacher = _models(method)
    reference = Frozen(student, images()[:2])
    objective = _objective(student, teacher, [method], reference)
    losses = objective(next(batches(objective.views)))
    require_finite_parts(losses.parts, len(losses.logits), "the objective")
    require("anchor" in _terms(losses.parts), "the stage has lost its anchor")
    losses.total.backward()
    reached = any(part.requires_grad for name, part in losses.parts.items() if _terms([name]).isdisjoint(_OTHERS))
    pretraining = method.pretraining(method_case(method).infos()[0])
    state = objective.term_states[0]
    before = {id(parameter) for parameter in method.pretrained(state).parameters()} if pretraining else set()
    reached = reached or (pretraining is not None and pretraining.trains_student)
    require(reached, "nothing of the method's loss depends on the student")
    idle = [
        name
        for name, parameter in state.named_parameters()
        if parameter.requires_grad and parameter.grad is None and id(parameter) not in before
    ]
    require(not idle, f"no gradient reaches: {', '.join(idle)}")
    require_no_gradients({"teacher": teacher, "reference": reference})


def first(method: Method) -> None:
    """It is the first of three stages."""
    _train(method, [[method], [FitNet()], [KD()]])


def second(method: Method) -> None:
    """It is the second of three stages."""
    _train(method, [[FitNet()], [method], [KD()]])


def third(method: Method) -> None:
    """It is the third of three stages."""
    _train(method, [[FitNet()], [KD()], [method]])


def joint(method: Method) -> None:
    """It shares a stage with KD, and the next one, in the other order."""
    _train(method, [[method, KD()], [KD(), method]] if not method.replaces_head else [[method, KD()]])


_OTHERS = {"ce", "anchor"}


def _train(method: Method, stages: Sequence[Sequence[Method]]) -> None:
    """A few steps of each stage: all losses are finite, the student moves, teacher and reference stay bit for bit."""
    student, teacher = _models(method)
    reference: Frozen | None = None
    for number, methods in enumerate(stages, 1):
        objective = _objective(student, teacher, methods, reference)
        before = tensors_of(objective.predictor)
        frozen = {"teacher": teacher, "reference": reference}
        tensors = frozen_tensors(frozen)
        train(objective, f"stage {number}")
        require_moved(objective.predictor, before, f"stage {number} leaves the student unchanged")
        objective.end_of_stage(objective.predictor.eval(), batches())
        require_same(frozen_tensors(frozen), tensors, f"stage {number} changes teacher or reference")
        student = objective.predictor
        reference = Frozen(student, images()[:2])


def _models(method: Method) -> tuple[FeatureModel, Frozen]:
    """Student and teacher: of different widths, or of the same one where the method refuses that."""
    student, teacher = network(), Frozen(network(TEACHER), images()[:2])
    try:
        _objective(network(), teacher, [method], None)
    except UserError:
        return student, Frozen(network(STUDENT), images()[:2])
    return student, teacher


def _objective(
    student: FeatureModel, teacher: Frozen, methods: Sequence[Method], reference: Frozen | None
) -> Objective:
    anchor = None if reference is None else ReferenceKL()
    return build_objective(
        student, teacher, methods=methods, example=images()[:2], data=DATA, anchor=anchor, reference=reference
    )


def _terms(names: Sequence[str] | dict[str, Tensor]) -> set[str]:
    """The names of the terms to which parts of the loss belong."""
    return {name.partition(".")[0] for name in names}
