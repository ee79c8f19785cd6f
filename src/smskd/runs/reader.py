"""Finished runs, read from their folders."""

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from smskd.errors import UserError

SUMMARY = "summary.json"
METRICS = "metrics.jsonl"
RECIPE = "recipe.yaml"
ENVIRONMENT = "environment.json"
FORMAT = 1
"""The layout of summary.json that is read here."""

_SUMMARY_KEYS = ("name", "seed", "seconds", "epochs", "data", "student", "teacher", "stages")
_METRIC_KEYS = ("epoch", "stage", "losses", "train_top1", "test_top1")


@dataclass(frozen=True)
class Run:
    """A finished run as its folder tells it."""

    path: Path
    summary: Mapping[str, Any]
    """summary.json: name, seed, data, student, teacher, and one entry a stage."""
    metrics: tuple[Mapping[str, Any], ...]
    """metrics.jsonl: one mapping an epoch, in the order of the epochs; accuracies in percent."""
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The recipe's name."""
        return str(self.summary["name"])

    @property
    def seed(self) -> int:
        """The seed it was trained with."""
        return int(self.summary["seed"])

    @property
    def stages(self) -> tuple[Mapping[str, Any], ...]:
        """The stages' entries of the summary, first to last."""
        return tuple(self.summary["stages"])

    @property
    def plain(self) -> bool:
        """Whether no stage distils anything: training on the labels alone."""
        return not any(stage["methods"] for stage in self.stages)


def load_run(path: str | Path) -> Run:
    """The finished run in a folder.

    Args:
        path: the run's own folder.

    Raises:
        UserError: there is no such folder, no run in it, the run is unfinished, or a file of it is damaged.
    """
    folder = _existing(Path(path))
    if not any((folder / name).is_file() for name in (SUMMARY, METRICS, RECIPE)):
        raise UserError(f"{folder}: no run in this folder; a run's folder holds {RECIPE} and {SUMMARY}")
    if not (folder / SUMMARY).is_file():
        raise UserError(f"{folder}: unfinished run; resume it with: smskd resume {shlex.quote(str(folder))}")
    return Run(
        path=folder,
        summary=_summary(folder / SUMMARY),
        metrics=_metrics(folder / METRICS),
        recipe=_recipe(folder / RECIPE),
        environment=_json_mapping(folder / ENVIRONMENT),
    )


def find_runs(paths: Iterable[str | Path]) -> list[Run]:
    """All finished runs in some folders: each is a run's own folder, or stands for every run below it.

    A run that is reached twice counts once. The order is that of the paths, below one of them that of the
    folders' names (numbers by value: seed2 before seed10).

    Args:
        paths: folders.

    Raises:
        UserError: as :func:`load_run`; also for a folder without any run below it.
    """
    folders: dict[Path, Path] = {}
    for path in paths:
        folder = _existing(Path(path))
        found = _run_folders(folder)
        if not found:
            raise UserError(f"{folder}: no run in this folder or below it; a run's folder holds {SUMMARY}")
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
    # A run that died in its first epoch has only its recipe; a folder of several runs may hold one too.
    return found or ([folder] if (folder / RECIPE).is_file() else [])


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{file}: this file of the run is missing; train the run again") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read: {error}") from None


def _json_mapping(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(_text(file))
    except json.JSONDecodeError as error:
        raise UserError(f"{file}, line {error.lineno}: damaged JSON: {error.msg}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: damaged: a JSON object is expected, not {type(content).__name__}")
    return content


def _summary(file: Path) -> dict[str, Any]:
    summary = _json_mapping(file)
    if summary.get("format") != FORMAT:
        raise UserError(f"{file}: format {summary.get('format')!r} is unknown; this version reads {FORMAT}")
    missing = [key for key in _SUMMARY_KEYS if key not in summary]
    if missing or not summary["stages"]:
        raise UserError(f"{file}: damaged: {', '.join(missing) or 'a stage'} missing")
    return summary


def _metrics(file: Path) -> tuple[dict[str, Any], ...]:
    epochs: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{file}, line {number}: damaged JSON: {error.msg}") from None
        missing = [key for key in _METRIC_KEYS if not isinstance(entry, dict) or key not in entry]
        if missing:
            raise UserError(f"{file}, line {number}: damaged: {', '.join(missing)} missing")
        # An epoch that a resumed run trained once more replaces its first writing.
        epochs[entry["epoch"]] = entry
    if not epochs:
        raise UserError(f"{file}: damaged: not one epoch in it")
    return tuple(epochs[epoch] for epoch in sorted(epochs))


def _recipe(file: Path) -> dict[str, Any]:
    try:
        recipe = yaml.safe_load(_text(file))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{file}{where}: damaged YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(recipe, dict):
        raise UserError(f"{file}: damaged: a YAML mapping is expected, not {type(recipe).__name__}")
    return recipe
