"""Finding and reading finished runs. Nothing here imports torch."""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smskd.errors import UserError
from smskd.runs.checked_files import read_environment, read_metrics, read_pretraining, read_summary
from smskd.runs.file_names import ENVIRONMENT, METRICS, PRETRAINING, RECIPE, SUMMARY
from smskd.runs.parsing import yaml_mapping


def training_seconds(summary: Mapping[str, Any]) -> float:
    """The time that the training of a run's stages took, also that of stages that were taken from a store.

    Args:
        summary: of the run.
    """
    stored = [stage["stored"]["seconds"] for stage in summary["stages"] if stage.get("stored")]
    return float(summary["seconds"] + sum(stored))


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
        environment: ``environment.json``: versions, device and number of threads; empty where the file is missing or
            damaged.
        problems: a sentence for each file that is missing or damaged but not needed.
    """

    path: Path
    summary: Mapping[str, Any]
    metrics: tuple[Mapping[str, Any], ...]
    pretraining: tuple[Mapping[str, Any], ...]
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    problems: tuple[str, ...] = ()

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
    def identity(self) -> Mapping[str, Any]:
        """Everything that determines the result, by the key of the recipe; ``fingerprints.<name>`` are those of images
        and weights."""
        identity: Mapping[str, Any] = self.summary["identity"]
        return identity

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
    summary = read_summary(folder / SUMMARY)
    environment, problems = read_environment(folder / ENVIRONMENT)
    return Run(
        path=folder,
        summary=summary,
        metrics=read_metrics(folder / METRICS, summary),
        pretraining=read_pretraining(folder / PRETRAINING),
        recipe=yaml_mapping(folder / RECIPE),
        environment=environment,
        problems=problems,
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
    runs, problems = _found(paths)
    if problems:
        raise problems[0]
    return runs


def find_finished(paths: Iterable[str | Path]) -> tuple[list[Run], list[str]]:
    """As :func:`find_runs`, but runs that are unfinished or damaged, and folders without any run, are left out.

    Args:
        paths: folders of runs, or folders that contain them at any depth.

    Returns:
        The runs, and a sentence for everything that is left out or incomplete.

    Raises:
        UserError: a path does not exist or is a file, or no run is left.
    """
    runs, problems = _found(paths)
    if not runs and problems:
        more = f" (and {len(problems) - 1} more without a finished run)" if len(problems) > 1 else ""
        raise UserError(f"{problems[0]}{more}")
    return runs, [*(f"left out: {error}" for error in problems), *(line for run in runs for line in run.problems)]


def _found(paths: Iterable[str | Path]) -> tuple[list[Run], list[UserError]]:
    folders: dict[Path, Path] = {}
    problems: list[UserError] = []
    for folder in [_existing(Path(path)) for path in paths]:
        found = list(_run_folders(folder, set(), problems))
        if not found:
            problems.append(
                UserError(f"{folder}: no run in this folder or below it; the folder of a run contains {SUMMARY}")
            )
        for each in found:
            folders.setdefault(each.resolve(), each)
    runs = []
    for each in folders.values():
        try:
            runs.append(load_run(each))
        except UserError as error:
            problems.append(error)
    return runs, problems


def _existing(folder: Path) -> Path:
    if not folder.exists():
        raise UserError(f"{folder}: no such folder; give the folder of a run, or one with runs below it")
    if not folder.is_dir():
        raise UserError(f"{folder}: this is a file; give the folder of a run, or one with runs below it")
    return folder


def _run_folders(folder: Path, seen: set[Path], problems: list[UserError]) -> list[Path]:
    """The folders of runs in and below a folder; links in a circle are followed once."""
    if folder.resolve() in seen:
        return []
    seen.add(folder.resolve())
    if (folder / SUMMARY).is_file() or (folder / METRICS).is_file():
        return [folder]
    try:
        below = [child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")]
    except OSError as error:
        problems.append(UserError(f"{folder} cannot be read: {error.strerror or error}"))
        return []
    found = [run for child in sorted(below, key=_natural) for run in _run_folders(child, seen, problems)]
    # A run that was killed in its first epoch has only a recipe; so may have a folder of several runs.
    return found or ([folder] if (folder / RECIPE).is_file() else [])


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
