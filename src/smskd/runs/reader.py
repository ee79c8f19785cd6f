"""Finding and reading finished runs. Nothing here imports torch."""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smskd.errors import UserError
from smskd.runs.file_names import ENVIRONMENT, METRICS, PRETRAINING, RECIPE, SUMMARY, SUMMARY_FORMAT
from smskd.runs.parsing import json_lines, json_mapping, yaml_mapping

_SUMMARY_KEYS = ("name", "seed", "seconds", "epochs", "data", "student", "teacher", "stages")
_METRIC_KEYS = ("epoch", "stage", "losses", "train_top1", "test_top1")
_PRETRAINING_KEYS = ("stage", "method", "epoch", "epochs", "losses")


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        path: of its folder.
        summary: ``summary.json``: name, seed, data, student, teacher, and one entry per stage. Accuracies are in
            percent.
        metrics: ``metrics.jsonl``: one entry per epoch, in the order of the epochs. Accuracies are in percent; those on
            the validation split are missing where there is none.
        pretraining: ``pretraining.jsonl``: one entry per epoch of a pretraining phase, in order; empty without one.
        recipe: the resolved recipe.
        environment: ``environment.json``: versions, device and number of threads.
    """

    path: Path
    summary: Mapping[str, Any]
    metrics: tuple[Mapping[str, Any], ...]
    pretraining: tuple[Mapping[str, Any], ...]
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of the recipe."""
        return str(self.summary["name"])

    @property
    def seed(self) -> int:
        """The seed of training."""
        return int(self.summary["seed"])

    @property
    def stages(self) -> tuple[Mapping[str, Any], ...]:
        """The entries of the stages in the summary, first to last."""
        return tuple(self.summary["stages"])

    @property
    def plain(self) -> bool:
        """Whether no stage has a distillation method: training on the labels alone."""
        return not any(stage["methods"] for stage in self.stages)

    @property
    def has_validation(self) -> bool:
        """Whether accuracies on a validation split were measured after each epoch."""
        return all(entry.get("validation_top1") is not None for entry in self.metrics)

    def best(self, stage: int | None = None) -> Mapping[str, Any] | None:
        """The metrics of the best epoch by top-1 accuracy on the validation split, the first one of equals.

        Test accuracy never selects an epoch.

        Args:
            stage: the best of this stage's epochs, counted from 1; None: of all epochs.

        Returns:
            An entry of ``metrics``; None without a validation split.
        """
        if not self.has_validation:
            return None
        entries = [entry for entry in self.metrics if stage in (None, entry["stage"])]
        return max(entries, key=lambda entry: float(entry["validation_top1"]))


def load_run(path: str | Path) -> Run:
    """The finished run in a folder.

    Args:
        path: the run's own folder.

    Raises:
        UserError: the folder does not exist or contains no run, the run is unfinished, or one of its files is missing
            or damaged.
    """
    folder = _existing(Path(path))
    if not any((folder / name).is_file() for name in (SUMMARY, METRICS, RECIPE)):
        raise UserError(f"{folder}: no run in this folder; the folder of a run contains {RECIPE} and {SUMMARY}")
    if not (folder / SUMMARY).is_file():
        raise UserError(f"{folder}: unfinished run; resume it with: smskd resume {shlex.quote(str(folder))}")
    pretraining = folder / PRETRAINING
    return Run(
        path=folder,
        summary=_summary(folder / SUMMARY),
        metrics=_metrics(folder / METRICS),
        pretraining=tuple(json_lines(pretraining, _PRETRAINING_KEYS)) if pretraining.is_file() else (),
        recipe=yaml_mapping(folder / RECIPE),
        environment=json_mapping(folder / ENVIRONMENT),
    )


def find_runs(paths: Iterable[str | Path]) -> list[Run]:
    """All finished runs in and below some folders, each of them once.

    The order is that of the paths, and below a path that of the folder names, with numbers ordered by value: ``seed2``
    before ``seed10``.

    Args:
        paths: folders of runs, or folders that contain them at any depth.

    Raises:
        UserError: as in :func:`load_run`; also for a folder without any run.
    """
    folders: dict[Path, Path] = {}
    for path in paths:
        folder = _existing(Path(path))
        found = _run_folders(folder)
        if not found:
            raise UserError(f"{folder}: no run in this folder or below it; the folder of a run contains {SUMMARY}")
        for each in found:
            folders.setdefault(each.resolve(), each)
    return [load_run(folder) for folder in folders.values()]


def _existing(folder: Path) -> Path:
    if not folder.exists():
        raise UserError(f"{folder}: no such folder; give the folder of a run, or one with runs below it")
    if not folder.is_dir():
        raise UserError(f"{folder}: this is a file; give the folder of a run, or one with runs below it")
    return folder


def _run_folders(folder: Path) -> list[Path]:
    if (folder / SUMMARY).is_file() or (folder / METRICS).is_file():
        return [folder]
    below = [child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")]
    found = [run for child in sorted(below, key=_natural) for run in _run_folders(child)]
    # A run that was killed in its first epoch has only a recipe; so may have a folder of several runs.
    return found or ([folder] if (folder / RECIPE).is_file() else [])


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def _summary(file: Path) -> dict[str, Any]:
    summary = json_mapping(file)
    if summary.get("format") != SUMMARY_FORMAT:
        raise UserError(f"{file}: format {summary.get('format')!r} is unknown; this version reads {SUMMARY_FORMAT}")
    missing = [key for key in _SUMMARY_KEYS if key not in summary]
    if missing or not summary["stages"]:
        raise UserError(f"{file}: damaged: {', '.join(missing) or 'a stage'} missing")
    return summary


def _metrics(file: Path) -> tuple[dict[str, Any], ...]:
    # An epoch that was trained again after a crash replaces the earlier entry.
    epochs = {entry["epoch"]: entry for entry in json_lines(file, _METRIC_KEYS)}
    if not epochs:
        raise UserError(f"{file}: damaged: it contains no epoch")
    return tuple(epochs[epoch] for epoch in sorted(epochs))
