"""Atomic writes: a reader finds either the old or the new content of a file, even if the process is killed."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

METADATA = "smskd"
"""The metadata entry of the tensor files."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to, which replaces ``path`` on success and is removed on an error.

    The file and its folder are synchronised to disk. Missing parent folders are created.

    Args:
        path: of the file to write or replace.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # safetensors creates files that only their owner may read
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files of killed processes from a folder and everything below it."""
    for temporary in folder.rglob(".*.tmp"):
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically, in UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file atomically, indented.

    Raises:
        ValueError: the value contains NaN or an infinite number.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes a safetensors file atomically; equal content gives equal bytes.

    Args:
        path: of the file.
        tensors: by name, on any device; they are written contiguous.
        metadata: texts by name. They are stored as JSON in a single entry, since safetensors writes several entries in
            random order.
    """
    contiguous = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        save_file(contiguous, temporary, metadata={METADATA: json.dumps(dict(metadata or {}), sort_keys=True)})


def metadata_of(entries: Mapping[str, str] | None) -> dict[str, str]:
    """The metadata that were passed to :func:`write_tensors`; those of a foreign file as they are.

    Args:
        entries: the metadata of a safetensors file.
    """
    found = dict(entries or {})
    return dict(json.loads(found[METADATA])) if METADATA in found else found


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
