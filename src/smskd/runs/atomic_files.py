"""Atomic writes: a reader finds either the old or the new content of a file, even if the process is killed."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from smskd.errors import UserError


@contextmanager
def replacing(path: Path, *, parents: bool = True) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to, which replaces ``path`` on success and is removed on an error.

    The file and its folder are synchronised to disk.

    Args:
        path: of the file to write or replace.
        parents: whether missing parent folders are created.

    Raises:
        UserError: the file cannot be written: the disk is full, the folder is read-only or gone, ...
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # safetensors creates files that only their owner may read
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise not_writable(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def not_writable(path: Path, error: OSError) -> UserError:
    """The error for a file that cannot be written, with the reason."""
    return UserError(f"{path} cannot be written: {error.strerror or error}")


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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
