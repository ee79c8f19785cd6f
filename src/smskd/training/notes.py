"""The notes of a run: a sentence for each fall-back and warning."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from smskd.models.compiled import CompiledStudent
from smskd.models.memory_format import safe_memory_format
from smskd.objective.weighted_sum import WeightedSum
from smskd.training.config import RunConfig
from smskd.training.counters import Counters
from smskd.training.not_finite import LARGE_LOSS
from smskd.training.reports import EpochReport
from smskd.training.step import Step


def stage_notes(step: Step, config: RunConfig, stage: int, no_cache: str | None = None) -> Iterator[str]:
    """What a stage does without, and why, as far as has been tried.

    Args:
        step: of the stage.
        config: of the run.
        stage: counted from 0.
        no_cache: why the teacher has no cache although one was requested; None: it has, or none was.
    """
    if safe_memory_format(config.student, step.device) == torch.contiguous_format:
        yield (
            "The student is trained in contiguous memory format, because oneDNN would corrupt memory in one of its "
            "strided 1x1 convolutions in channels-last format."
        )
    if config.recipe.runtime.compile == "on" and not isinstance(config.example, Tensor):
        yield "Networks are not compiled for texts, whose lengths differ from batch to batch."
    if config.recipe.runtime.compile == "on" and not config.sharing.processes.alone:
        yield "The student is not compiled with several processes."
    if not config.sharing.processes.alone and not step.objective.divides_batches:
        yield (
            f"Every process trains on the whole of each batch in stage {stage + 1}: {type(step.objective).__name__} "
            "does not divide batches (divides_batches), so that several processes are no faster than one."
        )
    yield from step.notes
    if not isinstance(step.objective, WeightedSum):
        return
    parts, frozen = step.objective.parts, step.objective.frozen
    for name, network in (("Teacher", parts.teacher), ("Reference", parts.reference)):
        if network is not None:
            yield from (f"{name}: {note}" for note in network.notes)
    if parts.cache is not None:
        yield from parts.cache.notes
    if isinstance(parts.extractor, CompiledStudent):
        yield from (f"Student: {note}" for note in parts.extractor.notes)
    settings = config.recipe.stages[stage].teacher
    if no_cache is not None:
        yield no_cache
    elif settings is not None and settings.cache.mode != "off" and frozen.reads_teacher and not frozen.cached:
        methods = "+".join(config.recipe.stages[stage].names)
        yield (
            f"The teacher's cache is not used in stage {stage + 1} ({methods}), which reads more of the teacher than "
            "logits and pooled features."
        )


_LARGE = "The loss was very large"


def epoch_notes(report: EpochReport, known: Sequence[str]) -> Iterator[str]:
    """A warning that follows from the report of an epoch.

    Args:
        report: of the epoch.
        known: the notes so far: of many epochs only the first is named.
    """
    total = report.losses["total"]
    if total > LARGE_LOSS and not any(note.startswith(_LARGE) for note in known):
        yield (
            f"{_LARGE} in epoch {report.epoch} ({total:.1e}): training has most likely diverged; lower "
            "optimizer.learning_rate or the weight of the largest part."
        )


def run_notes(counters: Counters) -> list[str]:
    """All notes of a run that has come to its end."""
    count = counters.skipped_steps
    if not count:
        return counters.notes
    steps = "1 training step was" if count == 1 else f"{count} training steps were"
    return [
        *counters.notes,
        f"{steps} skipped, because loss or gradients were not finite (skipped_steps in the metrics).",
    ]
