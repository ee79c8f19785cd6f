"""Whether a teacher's cache is filled before the epochs that read it, and why."""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

from smskd.config.cache import CacheConfig
from smskd.data import mix
from smskd.data.loaders.batching import coalesced_batches
from smskd.data.loaders.in_memory import MemoryLoader
from smskd.models.memory_errors import is_out_of_memory
from smskd.teacher_cache import TeacherCache
from smskd.teacher_cache.ahead import chunks_of_filling, chunks_of_misses, fill, share_filled
from smskd.teacher_cache.cache import OutputsNotFiniteError
from smskd.training.reports import CacheReport, Track
from smskd.training.state import TrainingState
from smskd.turns import opened

_WORTH_IT = 0.9
"""The share of the chunks of the misses that filling may take: it makes images that training makes anyway."""


def fill_ahead(state: TrainingState, track: Track) -> Iterator[CacheReport]:
    """Fills the cache of the present stage's teacher where that costs less than its misses, and reports why.

    Args:
        state: a stage has begun.
        track: shows progress.
    """
    own, settings = state.caches[state.counters.stage], state.stage.teacher
    if own.cache is None or settings is None or own.cache in state.considered:
        return
    if state.counters.stage not in own.stages:
        return
    state.considered.append(own.cache)
    if settings.cache.ahead == "never" or settings.cache.mode == "replay":
        return
    loader = state.config.loaders[state.counters.stage]
    if isinstance(loader, MemoryLoader) and loader.enumerates_variants:
        report = _considered(state, own.cache, loader, settings.cache, track)
        state.counters.note_own([str(report)] if report.filled or report.failure is not None else [])
        yield report
    elif settings.cache.ahead == "always":
        state.counters.note_own([_NOT_ENUMERATED])


_NOT_ENUMERATED = (
    "The teacher's cache was not filled ahead: the images are not in memory, or change at random by more than crop "
    "and flip."
)


def _considered(
    state: TrainingState, cache: TeacherCache, loader: MemoryLoader, settings: CacheConfig, track: Track
) -> CacheReport:
    samples, variants = loader.info.samples, loader.augmentation.variants
    filled = share_filled(cache, samples, variants)
    filling = chunks_of_filling(samples, variants, cache.chunk, filled)
    now, later = _epochs(state, settings)
    group = min(samples, state.stage.batch_size * _batches_at_once(state))
    misses = chunks_of_misses(samples, variants, cache.chunk, group, now + later, filled)
    report = CacheReport(False, filling, round(misses), cache.chunk, now, later)
    if not filling or (settings.ahead == "auto" and filling > _WORTH_IT * misses):
        return report
    started = time.perf_counter()
    failure = _filled(state, cache, loader, track)
    seconds = time.perf_counter() - started
    state.counters.seconds += seconds
    return replace(report, filled=failure is None, failure=failure, seconds=seconds)


def _batches_at_once(state: TrainingState) -> int:
    config = state.config
    return coalesced_batches(config.device, state.stage.batch_size, config.input_form)


def _epochs(state: TrainingState, settings: CacheConfig) -> tuple[int, int]:
    """The epochs that will read the cache, of this run and of others, which are taken to have such stages as this."""
    recipe = state.config.recipe
    reading = [recipe.stages[index] for index in state.caches[state.counters.stage].stages]
    now = sum(max(0, stage.last - max(stage.first, state.counters.epoch + 1) + 1) for stage in reading)
    share = sum(stage.epochs for stage in reading) / recipe.epochs
    shared = settings.mode == "disk"
    return now, round(share * state.config.epochs_after) if shared else 0


def _filled(state: TrainingState, cache: TeacherCache, loader: MemoryLoader, track: Track) -> str | None:
    """Fills it; returns what kept that from being done, after which the outputs are computed as they are needed."""
    config = state.config
    try:
        with opened():
            whole = fill(
                cache,
                loader,
                loader.info.samples,
                loader.augmentation.variants,
                context=lambda: config.recipe.runtime.autocast(config.device),
                track=lambda blocks, count: track(blocks, count, "filling the teacher's cache"),
                start=mix(os.getpid(), threading.get_ident()),
            )
    except OutputsNotFiniteError:
        cache.forget()
        return "that was begun, but the teacher's outputs for some images are not finite, or too large for float16"
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        cache.forget()
        return "that was begun, but memory did not suffice"
    return None if whole else "that was begun, but the outputs cannot be written"
