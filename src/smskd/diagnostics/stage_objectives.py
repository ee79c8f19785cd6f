"""The objectives of a finished run as they stood at the ends of its stages, from the files in its folder."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from torch import Tensor, nn

from smskd.data import mix
from smskd.data.loaders.batching import split
from smskd.diagnostics.gradients import GradientConflict, gradient_conflict, parameter_groups, trainable
from smskd.errors import UserError
from smskd.interfaces.batch import Batch, Progress
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.objective import Objective
from smskd.models import describe, load_weights
from smskd.models.copying import copy_of
from smskd.models.frozen import Frozen
from smskd.objective.parts import StageParts
from smskd.objective.weighted_sum import WeightedSum
from smskd.runs import student_files, term_files
from smskd.runs.reader import Run
from smskd.strategies.resolved import ResolvedStage
from smskd.training.config import RunConfig
from smskd.training.rng import seed_everything

ALL_PARTS = "all parts"
"""Left out where a strategy's objective, in which any part may depend on any module, lacks one."""


@dataclass(frozen=True)
class StageObjective:
    """The objective of a stage as it stood at its end, with the student that the stage has carried on.

    Attributes:
        objective: on the device of the run.
        left_out: names of the parts of the loss whose modules are not in the folder, and why.
    """

    objective: Objective
    left_out: Mapping[str, str]


def stage_objectives(run: Run, config: RunConfig) -> Iterator[StageObjective]:
    """The objectives of all stages, first to last.

    Random generators are seeded, and not put back.

    Args:
        run: that is finished.
        config: that was built from its recipe; its networks stay as they are.

    Raises:
        UserError: a file of the folder is missing or damaged.
    """
    student = copy_of(config.student)
    start = Frozen(student, config.example)
    previous: Frozen | None = start
    for index, stage in enumerate(config.recipe.stages):
        terms, kept = term_files.read(run.path, index + 1)
        reference = _reference(config, index, start, previous, student, kept)
        seed_everything(mix(config.recipe.runtime.seed, 0, index))
        objective = config.recipe.strategy.objective(
            StageParts(
                student=student,
                teacher=config.teachers[index],
                reference=reference,
                methods=stage.methods,
                anchor=stage.anchor,
                ce_weight=stage.ce_weight,
                data=config.loaders[index].info,
                example=config.example,
            )
        )
        left_out = _load_terms(objective, terms)
        if _needs_reference(stage, index) and reference is None:
            left_out = left_out | {
                "anchor": "its reference, which is not the student that the stage before has carried on, was not kept"
            }
        student = objective.predictor
        load_weights(student, student_files.of_stage(run.path, index + 1))
        yield StageObjective(objective, left_out)
        previous = Frozen(student, config.example) if stage.reference == stage.carry else None
        student = copy_of(student)


def conflict(found: StageObjective, config: RunConfig, stage: int, batches: int) -> GradientConflict:
    """The conflict between the parts of a stage's objective, in train mode and float32, on augmented training batches.

    Networks, memories and statistics are the same before each batch: those at the end of the stage.

    Args:
        found: the objective.
        config: of the run.
        stage: its number, from 1.
        batches: how many batches of the stage's last epoch are taken at most.
    """
    if ALL_PARTS in found.left_out:
        return GradientConflict({}, (), found.left_out)
    objective, settings = found.objective, config.recipe.stages[stage - 1]
    student = objective.predictor
    loader = config.loaders[stage - 1]
    seed_everything(mix(config.recipe.runtime.seed, settings.last))
    progress = Progress(settings.epochs, settings.epochs)
    groups = loader.groups(settings.last, progress, objective.views)
    sample = list(islice((batch for group in groups for batch in split(group)), batches))
    layout = describe(student, config.input_form)
    objective.train()
    with _unchanged(objective):
        layers = parameter_groups(student, sample[0].x, layout.stages if layout else ())
    names = _names_of_terms(objective)

    def losses(batch: Batch) -> dict[str, Tensor]:
        merged: dict[str, Tensor] = {}
        for part, loss in objective(batch).parts.items():
            name = _term_of(part, names)
            if name not in found.left_out:
                merged[name] = merged[name] + loss if name in merged else loss
        return merged

    def restored() -> Iterator[Batch]:
        for batch in sample:
            with _unchanged(objective):
                yield batch

    return gradient_conflict(losses, trainable(student), layers, restored(), found.left_out)


@contextmanager
def _unchanged(objective: Objective) -> Iterator[None]:
    """Buffers and parameters are afterwards as before: statistics of batch norms, memories, moving averages."""
    kept = {name: value.clone() for name, value in objective.state_dict().items()}
    try:
        yield
    finally:
        objective.load_state_dict(kept)


def _needs_reference(stage: ResolvedStage, index: int) -> bool:
    return index > 0 and stage.anchor is not None and stage.anchor.weight > 0 and stage.anchor.refers_to == "previous"


def _reference(
    config: RunConfig,
    index: int,
    start: Frozen,
    previous: Frozen | None,
    student: FeatureModel,
    kept: Mapping[str, Tensor],
) -> Frozen | None:
    """The reference of a stage; None where there is none, or where nothing is left of it."""
    anchor = config.recipe.stages[index].anchor
    if anchor is None or anchor.weight == 0 or anchor.refers_to == "average":
        return None
    if anchor.refers_to == "start":
        return start
    if kept:
        found = Frozen(student, config.example)
        found.load_state_dict(dict(kept))
        return found
    return previous


def _load_terms(objective: Objective, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Puts the modules of the terms back; the names of the terms of which the folder has no modules, and why."""
    names = _names_of_terms(objective)
    left_out: dict[str, str] = {}
    for number, state in enumerate(objective.term_states):
        wanted = state.state_dict()
        own = {
            name.partition(".")[2]: value for name, value in tensors.items() if name.partition(".")[0] == str(number)
        }
        if wanted and not own:
            own_parts = type(objective) is WeightedSum  # beside the terms it has the average that its anchor follows
            name = (names[number] if number < len(names) else "anchor") if own_parts else ALL_PARTS
            left_out[name] = "modules at the end of the stage are not in the folder of the run"
        elif wanted:
            _load(state, own)
    return left_out


def _load(state: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    try:
        state.load_state_dict(dict(tensors))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"the modules of a stage do not fit its methods ({reason})") from None


def _names_of_terms(objective: Objective) -> tuple[str, ...]:
    """The names of the terms, in the order of their modules; empty where a strategy's objective has none."""
    return tuple(term.name for term in objective.terms) if isinstance(objective, WeightedSum) else ()


def _term_of(part: str, names: tuple[str, ...]) -> str:
    """The name of the term that a part of the loss belongs to: ``dkd`` of ``dkd.target``."""
    own = [name for name in names if part == name or part.startswith(f"{name}.")]
    return max(own, key=len) if own else part.partition(".")[0]
