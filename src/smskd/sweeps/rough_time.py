"""How long a sweep takes, roughly, from a few steps of its stages: no run of it has been trained yet."""

import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import torch

from smskd.build import Provided
from smskd.config.base import plain
from smskd.config.cache import CacheConfig
from smskd.config.models import TeacherConfig
from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.models.dry_run import in_eval_mode
from smskd.recipe.absolute_paths import absolute_paths
from smskd.registry import ANCHORS
from smskd.runs.folder import RunFolder
from smskd.session import Run
from smskd.strategies.resolve import resolve
from smskd.strategies.resolved import ResolvedRecipe
from smskd.sweeps.plan import Plan
from smskd.sweeps.sweep_file import Sweep
from smskd.sweeps.workers import Loaded, dataset_of
from smskd.training.config import RunConfig
from smskd.training.globals import preserved_globals
from smskd.training.reports import Track, untracked
from smskd.training.run import check
from smskd.training.step import Step

STEPS = 3
"""Timed of each kind of stage; their median counts."""

_LONGEST = 60.0
"""Seconds after which no further run is measured."""


@dataclass(frozen=True)
class RoughTime:
    """The time that the stages of a sweep take one after another.

    Attributes:
        seconds: of all epochs, with their tests.
        measured: kinds of stages that were timed; the others are taken to be as slow as these are on average.
        kinds: of stages: their networks, data, methods, anchor and batch size.
    """

    seconds: float
    measured: int
    kinds: int


def rough_time(sweep: Sweep, found: Plan, track: Track = untracked) -> RoughTime:
    """The time of a sweep, from a few steps of each kind of stage, with one thread as a worker has. Nothing is written.

    Args:
        sweep: that was read.
        found: its plan, with a run at least.
        track: shows progress.

    Raises:
        UserError: a run cannot be trained; the message begins with its name.
    """
    recipes = [_without_files(resolve(absolute_paths(point.recipe(sweep)))) for point in found.points]
    wanted = {kind: place for place, recipe in reversed([*enumerate(recipes)]) for kind in _kinds(recipe)}
    per_epoch: dict[str, float] = {}
    loaded: Loaded = []
    started = time.perf_counter()
    with preserved_globals(), _one_thread():
        places = sorted({*wanted.values()})
        for place in track(places, len(places), "timing steps"):
            if per_epoch and time.perf_counter() - started > _LONGEST:
                continue
            try:
                per_epoch = _timed(recipes[place], loaded) | per_epoch
            except UserError as error:
                raise UserError(f"{found.points[place].name}: {error}") from None
    mean = statistics.fmean(per_epoch.values())
    distinct = {
        stage.digest: stage.epochs * per_epoch.get(kind, mean)
        for own, recipe in zip(found.stages, recipes, strict=True)
        for stage, kind in zip(own, _kinds(recipe), strict=True)
    }
    return RoughTime(sum(distinct.values()), len(per_epoch), len(wanted))


def _timed(recipe: ResolvedRecipe, loaded: Loaded) -> dict[str, float]:
    """Seconds of an epoch of each kind of stage of a run."""
    run = Run(recipe, RunFolder(Path("unused")))
    config = run.build(Provided(dataset=dataset_of(run, loaded)))
    kinds, test = _kinds(recipe), _test_seconds(config)
    found: dict[str, float] = {}

    def observe(index: int, step: Step, batch: Batch) -> None:
        times = []
        for _ in range(STEPS):
            started = time.perf_counter()
            step(batch)
            _synchronize(config.device)
            times.append(time.perf_counter() - started)
        found[kinds[index]] = statistics.median(times) * len(config.loaders[index]) + test

    check(config, observe)
    return found


def _test_seconds(config: RunConfig) -> float:
    """Seconds of a test of the student after an epoch."""
    total = 0.0
    for loader in (config.test, config.validation):
        if loader is None:
            continue
        batch = next(iter(loader.epoch(0)))
        started = time.perf_counter()
        with torch.no_grad(), in_eval_mode(config.student):
            config.student(batch.x)
            _synchronize(config.device)
        total += (time.perf_counter() - started) * ceil(loader.info.samples / max(1, len(batch.y)))
    return total


def _kinds(recipe: ResolvedRecipe) -> list[str]:
    """For each stage everything on which its speed depends in the main."""
    return [
        json.dumps(
            {
                "data": plain(recipe.data),
                "student": plain(recipe.student),
                "teacher": plain(stage.teacher),
                "batch": stage.batch_size,
                "methods": stage.names,
                "anchor": None if stage.anchor is None or stage.anchor.weight == 0 else ANCHORS.name_of(stage.anchor),
            },
            sort_keys=True,
            default=str,
        )
        for stage in recipe.stages
    ]


def _without_files(recipe: ResolvedRecipe) -> ResolvedRecipe:
    """Without cache, store and compilation."""

    def bare(teacher: TeacherConfig | None) -> TeacherConfig | None:
        return teacher and replace(teacher, cache=CacheConfig(mode="off"))

    changes: dict[str, Any] = {"runtime": replace(recipe.runtime, store=None, compile="off")}
    if hasattr(recipe, "teacher"):
        changes["teacher"] = bare(recipe.teacher)
    stages = tuple(replace(stage, teacher=bare(stage.teacher)) for stage in recipe.stages)
    return replace(recipe, stages=stages, **changes)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
