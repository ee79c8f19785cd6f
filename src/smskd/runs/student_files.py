"""The weights of students in the folder of a run: the resulting one, and that of each stage."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from smskd.errors import UserError
from smskd.runs.atomic_files import not_writable
from smskd.runs.file_names import STAGES, STUDENT
from smskd.runs.tensor_files import read_tensors, write_tensors


def of_stage(folder: Path, stage: int) -> Path:
    """The file of the student that a stage, counted from 1, has carried on."""
    return folder / STAGES / str(stage) / STUDENT


def save(folder: Path, module: nn.Module, metadata: Mapping[str, str], stage: int | None) -> None:
    """Writes the weights of a student.

    Args:
        folder: of the run.
        module: the student.
        metadata: texts that describe it.
        stage: that has carried it on, counted from 1; None: the resulting student.

    Raises:
        UserError: the file cannot be written.
    """
    path = folder / STUDENT if stage is None else of_stage(folder, stage)
    if stage is not None:
        try:
            path.parent.parent.mkdir(exist_ok=True)
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise not_writable(path.parent, error) from error
    write_tensors(path, module.state_dict(), metadata, parents=False)


def problem(path: Path) -> str:
    """Why the weights in a file cannot be read; empty if they can."""
    try:
        read_tensors(path, own=True)
    except UserError as error:
        return str(error)
    return ""


def restore(folder: Path, stages: int) -> str | None:
    """Writes the weights of the resulting student again, from the last stage's, where they are missing or damaged.

    Args:
        folder: of the finished run.
        stages: the number of its stages.

    Returns:
        A sentence about it; None where nothing is missing or damaged, or the file is of another program.

    Raises:
        UserError: the last stage's are missing as well, or damaged, or the file cannot be written.
    """
    path, source = folder / STUDENT, of_stage(folder, stages)
    if not path.exists():
        reason = f"{path} was missing"
    else:
        try:
            read_tensors(path)
        except UserError as error:
            reason = str(error)
        else:
            return None
    write_tensors(path, *read_tensors(source, own=True), parents=False)
    return f"{reason}; it is written again from {source}."
