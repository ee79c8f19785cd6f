"""Weights, configuration, class names and preprocessing of a student in a folder."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from smskd.deployment.preprocessing import PREPROCESSING
from smskd.deployment.student import Student
from smskd.errors import UserError
from smskd.models.libraries.names import library_of
from smskd.models.metadata import Facts
from smskd.models.weights import EXPORTED_WEIGHTS, OWN_CONFIGURATION, RUN_WEIGHTS
from smskd.runs.atomic_files import not_writable, write_json
from smskd.runs.file_names import RECIPE
from smskd.runs.tensor_files import write_tensors

CONFIG = "config.json"


@dataclass(frozen=True)
class ExportedFolder:
    """A folder that has been written.

    Attributes:
        path: of it.
        library: that loads the student from it by itself, ``timm`` or ``transformers``; None: only smskd does.
        note: why the library of the network cannot load it; empty where it can, or there is none.
    """

    path: Path
    library: str | None = None
    note: str = ""


def check_folder(path: Path) -> None:
    """Refuses a folder that cannot be written to, or is that of a run.

    Raises:
        UserError: it is a file, or holds a run.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"--safetensors: {path} is a file; a folder is needed")
    if (path / RECIPE).exists() or (path / RUN_WEIGHTS).exists():
        raise UserError(f"--safetensors: {path} holds a run; choose another folder")


def write_folder(path: Path, student: Student) -> ExportedFolder:
    """Writes a student into a folder: ``model.safetensors`` and ``config.json``, ``preprocessing.json`` of images.

    A network of timm or transformers gets the configuration of its library, and texts their tokenizer. It is then
    loaded by that library, and its weights are compared. Of the training nothing else is written: no adapters, no
    memories, no teacher.

    Args:
        path: the folder; files of these names are replaced.
        student: to write.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_writable(path, error) from error
    library = None if student.facts.model is None else library_of(student.facts.model)
    if library in ("timm", "transformers") and not (student.facts.heads or student.facts.folded):
        return _of_library(path, student, library)
    _write_weights(path, student, student.facts)
    write_json(path / CONFIG, _configuration(student))
    _write_preprocessing(path, student)
    return ExportedFolder(path, None, _why_not(library, student.facts))


def _of_library(path: Path, student: Student, library: str) -> ExportedFolder:
    facts, expected = student.facts, student.module.state_dict()
    if library == "timm":
        from smskd.deployment.timm_folder import load_with_timm, write_timm_configuration

        write_timm_configuration(path, student)
        _write_weights(path, student, facts)
        loaded = load_with_timm(path)
    else:
        from smskd.deployment.transformers_folder import load_with_transformers, write_transformers_configuration

        name = write_transformers_configuration(path, student)
        _write_weights(path, student, replace(facts, model=OWN_CONFIGURATION, options={}))
        loaded = load_with_transformers(path, name)
    _write_preprocessing(path, student)
    if loaded is None or not _equal(loaded, expected):
        return ExportedFolder(path, None, f"{library} itself does not load these weights")
    return ExportedFolder(path, library)


def _write_weights(path: Path, student: Student, facts: Facts) -> None:
    entries = {"format": "pt"}  # which transformers asks for
    write_tensors(path / EXPORTED_WEIGHTS, student.module.state_dict(), facts.as_metadata(), others=entries)


def _write_preprocessing(path: Path, student: Student) -> None:
    if student.preprocessing is not None:
        student.preprocessing.write(path / PREPROCESSING)


def _configuration(student: Student) -> dict[str, object]:
    facts = student.facts
    return {
        "library": "smskd",
        "model": facts.model or facts.network,
        "options": dict(facts.options),
        "classes": facts.classes,
        "class_names": None if facts.class_names is None else list(facts.class_names),
        "image_shape": None if facts.image_shape is None else list(facts.image_shape),
    }


def _why_not(library: str | None, facts: Facts) -> str:
    if library is None:
        return ""
    if library == "torchvision":
        return "torchvision has no format of folders: smskd.load alone loads it"
    changed = "its batch norms are folded" if facts.folded else "a method has replaced its last layers"
    return f"{library} does not load it, since {changed}"


def _equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name].cpu()) for name, tensor in one.items())
