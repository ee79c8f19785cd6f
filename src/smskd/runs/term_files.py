"""What a stage has learned beside its student, kept for the analysis: the modules of its loss terms, its reference.

A file ``stages/<number>/terms.safetensors`` has the tensors by ``terms.<number of the term>.<name>`` and
``reference.<name>``. Of a finished run nothing else depends on it.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from smskd.errors import UserError
from smskd.runs.file_names import STAGES, TERMS
from smskd.runs.tensor_files import read_tensors, write_tensors

SMALL = 16 * 2**20
"""Bytes of a term's modules that are kept whatever the student's size: the memory of a contrastive method on CIFAR has
three times as many, and a sweep has hundreds of stages."""


def of_stage(folder: Path, stage: int) -> Path:
    """The file of a stage, counted from 1; it is missing where there is nothing to keep."""
    return folder / STAGES / str(stage) / TERMS


def save(folder: Path, stage: int, terms: Mapping[str, Tensor], reference: Mapping[str, Tensor], limit: int) -> None:
    """Writes the file of a stage, if there is anything to keep.

    Args:
        folder: of the run; the folder of the stage is there.
        stage: counted from 1.
        terms: the tensors of the terms' modules by ``<number of the term>.<name>``. A term with more bytes than
            ``limit`` and :data:`SMALL` is left out.
        reference: the tensors of the reference by name; empty where it need not be kept.
        limit: bytes.

    Raises:
        UserError: the file cannot be written.
    """
    sizes: dict[str, int] = {}
    for name, tensor in terms.items():
        number = name.partition(".")[0]
        sizes[number] = sizes.get(number, 0) + tensor.numel() * tensor.element_size()
    kept = {
        f"terms.{name}": tensor for name, tensor in terms.items() if sizes[name.partition(".")[0]] <= max(limit, SMALL)
    } | {f"reference.{name}": tensor for name, tensor in reference.items()}
    if kept:
        write_tensors(of_stage(folder, stage), kept, parents=False)


def read(folder: Path, stage: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of the terms and those of the reference, by the names in :func:`save`; empty without a file.

    Raises:
        UserError: the file is damaged.
    """
    path = of_stage(folder, stage)
    tensors = read_tensors(path, own=True)[0] if path.exists() else {}
    return _below("terms.", tensors), _below("reference.", tensors)


def problem(folder: Path, stage: int) -> str:
    """Why the file of a stage cannot be read; empty if it can, or is missing."""
    try:
        read(folder, stage)
    except UserError as error:
        return str(error)
    return ""


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
