"""Verification of a finished run: each of its files is compared with its digest or checksum."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smskd.errors import UserError
from smskd.runs import student_files, term_files
from smskd.runs.checked_files import read_environment, read_metrics, read_pretraining, read_summary
from smskd.runs.file_names import ENVIRONMENT, METRICS, PRETRAINING, STUDENT, SUMMARY
from smskd.runs.parsing import json_lines


def damages(folder: Path) -> list[str]:
    """A sentence for each file of a finished run that is damaged or missing.

    ``recipe.yaml`` is not among them: it has no checksum, since a user may edit it.

    Args:
        folder: of the run.
    """
    try:
        summary = read_summary(folder / SUMMARY)
    except UserError as error:
        return [str(error), *_of_metrics(folder, None), *_of_others(folder)]
    return [*_of_metrics(folder, summary), *_of_others(folder), *_of_students(folder, summary)]


def _of_metrics(folder: Path, summary: dict[str, Any] | None) -> Iterator[str]:
    try:
        if summary is None:  # they cannot be compared with it
            list(json_lines(folder / METRICS))
        else:
            read_metrics(folder / METRICS, summary)
    except UserError as error:
        yield str(error)


def _of_others(folder: Path) -> Iterator[str]:
    try:
        read_pretraining(folder / PRETRAINING)
    except UserError as error:
        yield str(error)
    yield from read_environment(folder / ENVIRONMENT)[1]
    yield from filter(None, [student_files.problem(folder / STUDENT)])


def _of_students(folder: Path, summary: dict[str, Any]) -> Iterator[str]:
    """The students of the stages, but for those whose loss a note of the summary tells."""
    for stage in range(1, len(summary["stages"]) + 1):
        path = student_files.of_stage(folder, stage)
        noted = any(str(path.relative_to(folder)) in note for note in summary.get("notes", ()))
        problem = "" if noted else student_files.problem(path)
        yield from filter(None, [problem, term_files.problem(folder, stage)])
