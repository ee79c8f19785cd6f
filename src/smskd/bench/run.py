"""`smskd bench run`: a whole small recipe, with the training of its teacher."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from smskd.config.models import ModelConfig
from smskd.recipe import Recipe, read
from smskd.runs.folder import ENVIRONMENT, METRICS, SUMMARY
from smskd.session import begin

RECIPE = "digits/fitnet-kd.yaml"
SHORT = ("training.epochs=12", "schedule.decay_at=[8,10]")
"""Overrides that shorten the recipe."""

FORMAT = 1


def bench_run(path: str | None, overrides: Sequence[str], folder: Path) -> dict[str, Any]:
    """Trains a recipe and measures its duration.

    Args:
        path: of the recipe; None for a short one on the digits.
        overrides: changes to it, ``key.path=value``.
        folder: an empty folder, for the runs.

    Returns:
        ``recipe`` (its name) and ``epochs``; ``seconds`` in total; ``teacher_seconds`` of training the teacher first, a
        part of them, or None if the recipe has weights for it or no teacher; ``images`` trained on in all epochs;
        ``images_per_second`` without evaluation; ``share`` of each part in the time of the steps, percent; and
        ``environment``.

    Raises:
        UserError: the recipe cannot be run.
    """
    recipe = read(path, overrides) if path is not None else read(RECIPE, [*SHORT, *overrides])
    started = time.perf_counter()
    teacher_seconds = None
    if recipe.teacher is not None and recipe.teacher.weights is None:
        _train(_teacher(recipe), folder / "teacher")
        teacher_seconds = round(time.perf_counter() - started, 1)
        teacher = replace(recipe.teacher, weights=str(folder / "teacher"))
        recipe = replace(recipe, teacher=teacher)
    summary, epochs = _train(recipe, folder / "run")
    samples = summary["data"]["train_samples"]
    return {
        "format": FORMAT,
        "recipe": summary["name"],
        "epochs": summary["epochs"],
        "seconds": round(time.perf_counter() - started, 1),
        "teacher_seconds": teacher_seconds,
        "images_per_second": round(len(epochs) / sum(1 / epoch["images_per_second"] for epoch in epochs), 1),
        "images": samples * len(epochs),
        "share": _shares(summary["stages"]),
        "environment": json.loads((folder / "run" / ENVIRONMENT).read_text(encoding="utf-8")),
    }


def _teacher(recipe: Recipe) -> Recipe:
    """The recipe of the teacher: the same without a teacher and methods."""
    assert recipe.teacher is not None
    own = recipe.teacher
    student = ModelConfig(own.name, options=own.options, features=own.features)
    return replace(recipe, name="teacher", student=student, teacher=None, methods=(), stages=None)


def _train(recipe: Recipe, folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The summary of the run, and the metrics of each epoch."""
    run = begin(recipe, folder)
    for _ in run.train(run.build()):
        pass
    lines = (folder / METRICS).read_text(encoding="utf-8").splitlines()
    return json.loads((folder / SUMMARY).read_text(encoding="utf-8")), [json.loads(line) for line in lines]


def _shares(stages: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The share of each part in the time of all steps, percent; the timed steps of a stage stand for all of them."""
    times: dict[str, float] = {}
    for stage in stages:
        first, last = stage["epochs"]
        for part, milliseconds in stage["cost"]["milliseconds"].items():
            times[part] = times.get(part, 0.0) + (last - first + 1) * milliseconds
    whole = sum(times.values()) or 1.0
    return {part: round(100 * spent / whole, 1) for part, spent in times.items()}
