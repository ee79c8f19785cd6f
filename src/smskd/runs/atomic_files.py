"""Atomic writes: a reader finds either the old or the new content of a file, even if the process is killed."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from smskd.errors import UserError

_STREAMS = ("/dev/std", "/dev/fd/", "/proc/")
"""The beginnings of the names of a process's own streams."""


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


def remove_leftovers(path: Path) -> None:
    """Removes the temporary files that killed processes have left of a file.

    Args:
        path: of the file. Another process that is just writing it gets an error.
    """
    pattern = re.compile(rf"\.{re.escape(path.name)}\.\d+\.tmp")
    with suppress(OSError):
        for entry in path.parent.iterdir():
            if pattern.fullmatch(entry.name) and entry.is_file():
                entry.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, parents: bool = True) -> None:
    """Writes a text file atomically, in UTF-8.

    Args:
        path: of the file.
        text: its content.
        parents: whether missing parent folders are created.

    Raises:
        UserError: the file cannot be written.
    """
    with replacing(path, parents=parents) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_output(path: Path, text: str) -> None:
    """Writes a file that the user has named, in UTF-8.

    A regular file is replaced atomically, a link is followed, and a device, a pipe or a stream such as ``/dev/stdout``
    is written to. Files of a run are not written by this function: a link in a run's folder may lead anywhere.

    Args:
        path: of the file; missing parent folders are created.
        text: its content.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        if is_stream(path):
            with path.open("w", encoding="utf-8") as file:
                file.write(text)
        else:
            target = path.resolve()
            remove_leftovers(target)
            write_text(target, text)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
        if isinstance(error, OSError):
            raise not_writable(path, error) from error
        raise UserError(f"{path} cannot be written: {error}") from error


def is_stream(path: Path) -> bool:
    """Whether a path is a device, a pipe or a stream of the process, which is written to instead of replaced."""
    own = os.path.abspath(path).startswith(_STREAMS)  # these may be regular files that are appended to
    return path.exists() and not path.is_dir() and (own or not path.is_file())


def write_json(path: Path, value: Any, *, parents: bool = True) -> None:
    """Writes a JSON file atomically, indented.

    Args:
        path: of the file.
        value: its content.
        parents: whether missing parent folders are created.

    Raises:
        ValueError: the value contains NaN or an infinite number.
        UserError: the file cannot be written.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n", parents=parents)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
