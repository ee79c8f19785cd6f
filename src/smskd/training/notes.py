"""The notes of a run: a sentence for each fall-back and warning."""

from collections.abc import Iterator

import torch

from smskd.models.compiled import CompiledStudent
from smskd.models.memory_format import safe_memory_format
from smskd.objective.weighted_sum import WeightedSum
from smskd.training.config import RunConfig
from smskd.training.not_finite import LARGE_LOSS
from smskd.training.reports import EpochReport
from smskd.training.step import Step


def stage_notes(step: Step, config: RunConfig, stage: int) -> Iterator[str]:
    """What a stage does without, and why, as far as has been tried.

    Args:
        step: of the stage.
        config: of the run.
        stage: counted from 0.
    """
    if safe_memory_format(config.student, step.device) == torch.contiguous_format:
        yield (
            "The student is trained in contiguous memory format, because oneDNN would corrupt memory in one of its "
            "strided 1x1 convolutions in channels-last format."
        )
    yield from step.notes
    if not isinstance(step.objective, WeightedSum):
        return
    parts, frozen = step.objective.parts, step.objective.frozen
    for name, network in (("Teacher", parts.teacher), ("Reference", parts.reference)):
        if network is not None:
            yield from (f"{name}: {note}" for note in network.notes)
    if isinstance(parts.extractor, CompiledStudent):
        yield from (f"Student: {note}" for note in parts.extractor.notes)
    settings = config.recipe.stages[stage].teacher
    if settings is not None and settings.cache.mode != "off" and frozen.reads_teacher and not frozen.cached:
        methods = "+".join(config.recipe.stages[stage].names)
        yield (
            f"The teacher's cache is not used in stage {stage + 1} ({methods}), which reads more of the teacher than "
            "logits and pooled features."
        )


def epoch_notes(report: EpochReport) -> Iterator[str]:
    """Warnings that follow from the report of an epoch."""
    total = report.losses["total"]
    if total > LARGE_LOSS:
        yield (
            f"The loss was {total:.1e} in epoch {report.epoch}: training has most likely diverged; lower "
            "optimizer.learning_rate or the weight of the largest part."
        )
    if report.skipped_steps:
        yield (
            f"{report.skipped_steps} training steps of epoch {report.epoch} were skipped, because their loss or "
            "gradients were not finite."
        )
