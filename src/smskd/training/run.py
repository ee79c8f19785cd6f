"""A run: its stages one after another, a checkpoint after every epoch, and going on after a crash."""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.models import load_weights
from smskd.registry import ANCHORS
from smskd.runs.folder import CHECKPOINT, Checkpoint, RunFolder
from smskd.training.accuracy import Accuracy, evaluate, transitions
from smskd.training.compute_policy import fitting_threads
from smskd.training.config import RunConfig
from smskd.training.cost import stage_cost
from smskd.training.epoch import train_epochs
from smskd.training.globals import computing
from smskd.training.identity import Identity, check_identity
from smskd.training.pretraining import PretrainingReport
from smskd.training.reports import EpochReport, Track, untracked
from smskd.training.state import TrainingState
from smskd.training.summary import summary

Report = EpochReport | PretrainingReport

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
        folder.note_threads(torch.get_num_threads())
        return (yield from _run(config, folder, track, force))


def _run(config: RunConfig, folder: RunFolder, track: Track, force: bool) -> Generator[Report, None, FeatureModel]:
    if folder.finished:
        return _load_result(config, folder, force)
    checkpoint = folder.load_checkpoint()
    state = TrainingState(config)
    if checkpoint is not None:
        _resume(state, checkpoint, folder, force)
    folder.truncate(state.counters.epoch, state.counters.pretraining_epochs)
    resumed, carried = checkpoint is not None, None
    for index in range(state.counters.stage, len(config.recipe.stages)):
        if not resumed:
            state.begin_stage(index)
        resumed = False
        yield from _train_stage(state, folder, track)
        carried = _end_stage(state)
        folder.save_student(state.student.wrapped, state.metadata(), index + 1)
    assert carried is not None
    folder.save_student(state.student.wrapped, state.metadata())
    folder.save_summary(summary(config, state, carried))
    return state.student


def _train_stage(state: TrainingState, folder: RunFolder, track: Track) -> Iterator[Report]:
    """The phases before the stage and its epochs, as far as they are not done yet."""
    config, counters = state.config, state.counters
    yield from _pretrain(state, folder, track)
    first = max(state.stage.first, counters.epoch + 1)
    cache = state.caches[counters.stage]
    epochs = train_epochs(state.step, config, counters.stage, first, ema=state.ema, cache=cache, track=track)
    for report in epochs:
        state.observe(report)
        if report.epoch == state.stage.first:
            counters.cost = stage_cost(state.step)
        folder.append_metrics(report.as_dict())
        if report.epoch % config.recipe.runtime.checkpoint_every == 0 or report.epoch == state.stage.last:
            _save_checkpoint(state, folder)
        yield report


def _pretrain(state: TrainingState, folder: RunFolder, track: Track) -> Iterator[PretrainingReport]:
    counters, loader, before = state.counters, state.config.loaders[state.counters.stage], 0
    for phase in state.phases:
        for report in phase.train(loader, max(1, counters.pretrained - before + 1), track):
            counters.pretrained += 1
            counters.pretraining_epochs += 1
            counters.seconds += report.seconds
            folder.append_pretraining(report.as_dict())
            _save_checkpoint(state, folder)
            yield report
        before += phase.epochs


def _end_stage(state: TrainingState) -> Accuracy:
    """Ends the stage, adds its summary, and returns the test accuracy of the student that is carried on."""
    stage, counters, config = state.stage, state.counters, state.config
    state.end_stage()
    carried = state.accuracy_of_last() if stage.carry == "last" else None
    if carried is None:
        compute = config.recipe.runtime
        carried = evaluate(state.student, config.test.epoch(0), classes=config.classes, compute=compute)
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
        }
    )
    state.known = carried.correct
    return carried


def _save_checkpoint(state: TrainingState, folder: RunFolder) -> None:
    parts = state.state_dict()
    identity = state.config.identity
    values = {"counters": parts.pop("counters"), "digest": identity.digest, "identity": dict(identity.facts)}
    tensors = {f"{part}.{name}": value for part, own in parts.items() for name, value in own.items()}
    folder.save_checkpoint(Checkpoint(tensors, values))


def _resume(state: TrainingState, checkpoint: Checkpoint, folder: RunFolder, force: bool) -> None:
    try:
        begun = Identity(checkpoint.values["identity"])
        check_identity(begun, state.config.identity, folder.path, force=force)
        state.load_state_dict({**_by_part(checkpoint.tensors), "counters": checkpoint.values["counters"]})
    except (RuntimeError, KeyError, IndexError, TypeError) as error:
        if isinstance(error, RuntimeError) and "loading state_dict" not in str(error):
            raise
        raise UserError(
            f"{folder.path / CHECKPOINT} does not fit the run ({str(error).splitlines()[0]}); remove it to start the "
            "run again"
        ) from None


def _by_part(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        part, _, own = name.partition(".")
        parts.setdefault(part, {})[own] = value
    return parts


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
