"""All that a run leaves in its folder, and all that a stopped run has already done."""

import json
from pathlib import Path
from typing import Any

from smskd.runs.checksums import verified
from smskd.runs.folder import CHECKPOINT, METRICS, PRETRAINING, SUMMARY, RunFolder
from tests.support import tiny

_OF_THE_PAGE = ("report.html", "charts")


def result(here: Path, folders: tuple[str, ...]) -> dict[str, Any]:
    """All that finished runs leave, bit by bit, but for times and pages."""
    return {folder: _result(here / folder) for folder in folders}


def _result(folder: Path) -> dict[str, Any]:
    found = tiny.outcome(folder)
    pretraining = folder / PRETRAINING
    lines = (
        [verified(json.loads(line)) for line in pretraining.read_text().splitlines()] if pretraining.exists() else []
    )
    names = [name for name in found["files"] if not name.startswith(_OF_THE_PAGE)]
    found["summary"][0].pop("notes", None)  # a run that was resumed may have others
    return {**found, "pretraining": tiny.without_times(lines), "files": names}


def done(here: Path, folders: tuple[str, ...]) -> dict[str, list[bytes]]:
    """The lines of metrics, with their times, that no run may train again: those that a checkpoint includes."""
    return {folder: _done(here / folder) for folder in folders}


def _done(folder: Path) -> list[bytes]:
    if (folder / SUMMARY).exists():
        return _lines(folder)
    if not (folder / CHECKPOINT).exists():
        return []
    checkpoint = RunFolder(folder).load_checkpoint()
    assert checkpoint is not None
    return _lines(folder)[: checkpoint.values["counters"]["epoch"]]


def _lines(folder: Path) -> list[bytes]:
    path = folder / METRICS
    return path.read_bytes().splitlines() if path.exists() else []


def is_kept(before: dict[str, list[bytes]], here: Path) -> bool:
    """Whether nothing that was done has been trained again."""
    return all(_lines(here / folder)[: len(lines)] == lines for folder, lines in before.items())
