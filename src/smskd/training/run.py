"""A run over its stages: what is carried from one into the next, what is saved, and how it goes on after a crash."""

from collections.abc import Generator, Iterator

import torch

from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.runs.folder import CHECKPOINT, RECIPE, Checkpoint, RunFolder
from smskd.training.compute_policy import fitting_threads
from smskd.training.config import RunConfig
from smskd.training.epoch import EpochReport, Track, fit, untracked
from smskd.training.host import keep_freed_memory
from smskd.training.pretraining import PretrainingReport
from smskd.training.state import Counters, TrainingState
from smskd.training.summary import summary

Report = EpochReport | PretrainingReport


def run(setup: RunConfig, folder: RunFolder, *, track: Track = untracked) -> Generator[Report, None, FeatureModel]:
    """Trains the stages that are left, and yields a report after each epoch; the summary is in the folder at the end.

    Killed at any moment, it goes on from the last checkpoint as if it had never been: everything random follows from
    the seed and the epoch.
    """
    keep_freed_memory(setup.example.device)
    with fitting_threads(setup):
        folder.note_threads(torch.get_num_threads())
        return (yield from _run(setup, folder, track))


def _run(setup: RunConfig, folder: RunFolder, track: Track) -> Generator[Report, None, FeatureModel]:
    if folder.finished:
        return TrainingState(setup).load_result(folder)
    checkpoint = folder.load_checkpoint()
    ledger = Counters(**checkpoint.values) if checkpoint else Counters()
    folder.truncate(ledger.epoch, ledger.pretraining_epochs)
    trainee = TrainingState(setup)
    if checkpoint is not None:
        _restore(trainee, checkpoint, ledger, folder)
    carried = None
    for index in range(ledger.stage, len(setup.stages)):
        stage = setup.stages[index]
        resumed = checkpoint is not None and index == ledger.stage
        step = trainee.step if resumed else None
        if step is None:
            step = trainee.enter(stage, index)
            ledger.enter(index)
        yield from _prepare(trainee, setup, folder, ledger, track)
        for report in fit(
            step,
            setup.train,
            setup.test,
            stage=stage,
            number=index + 1,
            first=max(stage.first, ledger.epoch + 1),
            pace=setup.pace,
            average=trainee.average,
            track=track,
        ):
            trainee.observe(report, stage, ledger)
            folder.append_metrics(report.as_dict())
            if report.epoch % setup.checkpoint_every == 0 or report.epoch == stage.last:
                folder.save_checkpoint(trainee.saved(ledger))
            yield report
        carried = trainee.leave(stage, index, setup.test, ledger)
        folder.save_student(trainee.student.wrapped, trainee.metadata, index + 1)
    assert carried is not None
    folder.save_student(trainee.student.wrapped, trainee.metadata)
    folder.save_summary(summary(setup, trainee, ledger, carried))
    return trainee.student


def _restore(trainee: TrainingState, checkpoint: Checkpoint, ledger: Counters, folder: RunFolder) -> None:
    try:
        trainee.restore(checkpoint, ledger)
    except (RuntimeError, KeyError, IndexError) as error:
        if isinstance(error, RuntimeError) and "loading state_dict" not in str(error):
            raise
        raise UserError(
            f"{folder.path / CHECKPOINT} is of another recipe than {RECIPE} beside it; undo the change, "
            "or remove the checkpoint to start the run again"
        ) from None


def _prepare(
    trainee: TrainingState, setup: RunConfig, folder: RunFolder, ledger: Counters, track: Track
) -> Iterator[PretrainingReport]:
    """The phases before a stage that are not done yet."""
    before = 0
    for phase in trainee.phases:
        for report in phase.epochs(setup.train, max(1, ledger.pretrained - before + 1), track):
            ledger.pretrained += 1
            ledger.pretraining_epochs += 1
            ledger.seconds += report.seconds
            folder.append_preparation(report.as_dict())
            folder.save_checkpoint(trainee.saved(ledger))
            yield report
        before += phase.pretraining.epochs
