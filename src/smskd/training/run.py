"""A run: its stages one after another, a checkpoint after every epoch, and going on after a crash."""

from collections.abc import Generator, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.models import load_weights
from smskd.models.memory_errors import out_of_memory_told
from smskd.registry import ANCHORS
from smskd.runs.folder import RunFolder
from smskd.training.accuracy import Accuracy, evaluate, transitions
from smskd.training.checkpoints import Checkpoints
from smskd.training.compute_policy import fitting_threads
from smskd.training.config import RunConfig
from smskd.training.cost import stage_cost
from smskd.training.epoch import train_epochs
from smskd.training.filling import fill_ahead
from smskd.training.globals import computing
from smskd.training.identity import Identity, check_identity
from smskd.training.notes import epoch_notes, stage_notes
from smskd.training.pretraining import PretrainingReport
from smskd.training.rehearsal import Observe, rehearse
from smskd.training.reports import CacheReport, EpochReport, StoreReport, TeacherReport, Track, untracked
from smskd.training.shared_stages import SharedStages
from smskd.training.state import TrainingState
from smskd.training.summary import summary
from smskd.training.teacher_test import teacher_notes, test_of_teacher

Report = EpochReport | PretrainingReport | TeacherReport | StoreReport | CacheReport

_NO_TRANSITIONS = {"retained": None, "forgotten": None, "learned": None, "never_known": None}


def run(
    config: RunConfig, folder: RunFolder, *, track: Track = untracked, force: bool = False
) -> Generator[Report, None, FeatureModel]:
    """Trains the stages that are left, and yields a report after each epoch; at the end the summary is in the folder.

    Killed at any moment, a run goes on from its last checkpoint as if it had not been: everything random follows from
    the seed and the epoch. Global state of the process is as before when it ends.

    Args:
        config: of the run.
        folder: with its checkpoint, if it was begun before.
        track: shows progress within an epoch.
        force: whether a run is resumed with settings that differ harmlessly (:mod:`smskd.training.identity`).

    Raises:
        UserError: the folder's run was begun with other settings, data or weights; a loss is no longer finite.
    """
    with computing(config.recipe.runtime), fitting_threads(config):
        return (yield from _run(config, folder, track, force))


def check(config: RunConfig, observe: Observe | None = None) -> None:
    """Everything that is checked before a run is trained: it is rehearsed. Global state of the process is as before.

    Args:
        config: of the run.
        observe: as :func:`smskd.training.rehearsal.rehearse` takes it.

    Raises:
        UserError: the run cannot begin.
    """
    with computing(config.recipe.runtime), fitting_threads(config):
        TrainingState(config)
        rehearse(config, observe)


def _run(config: RunConfig, folder: RunFolder, track: Track, force: bool) -> Generator[Report, None, FeatureModel]:
    processes = config.sharing.processes
    if processes.from_first(lambda: folder.finished):
        return _load_result(config, folder, force)
    checkpoints = Checkpoints(config, folder)
    state, carried = TrainingState(config), None
    resumed = checkpoints.resume(state, force)
    if not resumed:
        rehearse(config)
    shared = SharedStages(config, folder, state, resumed=resumed)
    yield from _test_teacher(state, track)
    for index in range(state.counters.stage, len(config.recipe.stages)):
        ended = resumed and state.counters.epoch == config.recipe.stages[index].last
        held = nullcontext() if ended else (yield from shared.obtain(index))
        if held is None:
            checkpoints.save(state)
        else:
            with held:
                if not resumed:
                    state.begin_stage(index)
                    shared.begun()
                yield from _train_stage(state, folder, checkpoints, track)
                shared.publish()
        resumed = False
        reference = state.unkept_reference()
        carried = _end_stage(state)
        folder.save_student(state.student.wrapped, state.metadata(), index + 1)
        folder.save_terms(state.objective.term_states.state_dict(), reference, 2 * state.student_bytes(), index + 1)
    assert carried is not None
    folder.save_student(state.student.wrapped, state.metadata())
    if processes.first:
        folder.save_summary(summary(config, state, carried, track))
    return state.student


def _test_teacher(state: TrainingState, track: Track) -> Iterator[Report]:
    """The test accuracy of the teacher, unless the checkpoint has it."""
    if state.counters.teacher is None and (report := test_of_teacher(state.config, track)) is not None:
        state.counters.teacher = [report.top1, report.top5]
        state.counters.note(teacher_notes(report))
        yield report


def _train_stage(state: TrainingState, folder: RunFolder, checkpoints: Checkpoints, track: Track) -> Iterator[Report]:
    """The phases before the stage and its epochs, as far as they are not done yet."""
    with out_of_memory_told(lambda: _work(state)):
        yield from _epochs(state, folder, checkpoints, track)


def _work(state: TrainingState) -> str:
    """For what memory did not suffice, and what to do."""
    stage, counters = state.stage, state.counters
    return (
        f"stage {counters.stage + 1} ({'+'.join(stage.names) or 'plain training'}) with batches of {stage.batch_size} "
        f"images, after epoch {counters.epoch}: free some and resume the run, or begin another one with a smaller "
        "training.batch_size, smaller settings of the methods, or teacher.cache.mode=off"
    )


def _epochs(state: TrainingState, folder: RunFolder, checkpoints: Checkpoints, track: Track) -> Iterator[Report]:
    config, counters = state.config, state.counters
    yield from _pretrain(state, folder, checkpoints, track)
    first = max(state.stage.first, counters.epoch + 1)
    yield from fill_ahead(state, track)
    cache, no_cache = state.caches[counters.stage].cache, state.caches[counters.stage].note
    epochs = train_epochs(state.step, config, counters.stage, first, ema=state.ema, cache=cache, track=track)
    for report in map(state.compared, epochs):
        state.observe(report)
        counters.note(
            (*stage_notes(state.step, config, counters.stage, no_cache), *epoch_notes(report, counters.notes))
        )
        counters.note(cache.notes if cache else ())
        if report.epoch == state.stage.first:
            counters.cost = stage_cost(state.step)
        folder.append_metrics(report.as_dict())
        checkpoints.save_if_due(state)
        yield report


def _pretrain(
    state: TrainingState, folder: RunFolder, checkpoints: Checkpoints, track: Track
) -> Iterator[PretrainingReport]:
    counters, loader, before = state.counters, state.config.loaders[state.counters.stage], 0
    for phase in state.phases:
        for report in phase.train(loader, max(1, counters.pretrained - before + 1), track):
            counters.pretrained += 1
            counters.pretraining_epochs += 1
            counters.seconds += report.seconds
            folder.append_pretraining(report.as_dict())
            checkpoints.save(state)
            yield report
        before += phase.epochs


def _end_stage(state: TrainingState) -> Accuracy:
    """Ends the stage, adds its summary, and returns the test accuracy of the student that is carried on."""
    stage, counters, config = state.stage, state.counters, state.config
    state.end_stage()
    carried = state.accuracy_of_last() if stage.carry == "last" else None
    if carried is None:
        carried = evaluate(
            state.student,
            config.batches.tested(config.test)[0],
            classes=config.classes,
            compute=config.recipe.runtime,
            with_others=config.batches.all_tested,
        )
    change = _NO_TRANSITIONS if state.known is None else asdict(transitions(state.known, carried.correct))
    held = stage.anchor is not None and stage.anchor.weight > 0
    counters.stages.append(
        {
            "index": counters.stage + 1,
            "methods": list(stage.names),
            "epochs": [stage.first, stage.last],
            "anchor": ANCHORS.name_of(stage.anchor) if held and stage.anchor is not None else None,
            "top1_last": counters.test_top1,
            "top1_best": counters.stage_best_test_top1,
            "top1_carried": carried.top1,
            **change,
            "cost": counters.cost,
            "stored": counters.stored,
        }
    )
    state.known = carried.correct
    return carried


def _load_result(config: RunConfig, folder: RunFolder, force: bool) -> FeatureModel:
    """The student of a run that is finished."""
    found = folder.load_summary()
    begun: Any = found.get("identity")
    if isinstance(begun, dict):
        check_identity(Identity(begun), config.identity, folder.path, force=force)
        if found["epochs"] < config.recipe.epochs:
            raise UserError(
                f"{folder.path} is finished after {found['epochs']} epochs, and a finished run cannot be lengthened; "
                "begin another run in another folder"
            )
    student = TrainingState(config).load_result()
    load_weights(student, folder.path)
    return student
