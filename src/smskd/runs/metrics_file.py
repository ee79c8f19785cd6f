"""Files with one JSON object per line, to which a run appends."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smskd.errors import UserError
from smskd.runs.atomic_files import not_writable
from smskd.runs.checksums import verified, with_checksum


def append_line(path: Path, line: Mapping[str, Any], *, first: bool) -> None:
    """Appends a line with its checksum, and waits until it is on disk.

    Args:
        path: of the file.
        line: to append.
        first: whether the file may be made; later lines belong into the file with the earlier ones.

    Raises:
        ValueError: a value is NaN or infinite, which JSON cannot represent.
        UserError: the file cannot be written, or is gone.
    """
    text = json.dumps(with_checksum(line), allow_nan=False) + "\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | (os.O_CREAT if first else 0), 0o666)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise not_writable(path, error) from error


def kept_lines(path: Path, fields: Sequence[str], count: int, *, numbered: bool) -> str:
    """The text without the lines after a checkpoint, those that are damaged or torn, and earlier copies of a line.

    Args:
        path: of the file; it may be missing where no line is to be kept.
        fields: identify a line; the lines are sorted by the first one.
        count: of the lines to keep.
        numbered: whether the first field counts the lines from 1.

    Raises:
        UserError: one of the lines to keep is missing or damaged, or the file cannot be read.
    """
    if not path.exists() and count:
        raise UserError(f"{path} is missing")
    if not path.exists():
        return ""
    lines: dict[tuple[Any, ...], str] = {}
    for text in _text(path).splitlines():
        line = _line(text)
        if line is not None and all(field in line for field in fields):
            lines[tuple(line[field] for field in fields)] = text
    kept = sorted(lines, key=lambda key: int(key[0]))
    kept = [key for key in kept if not numbered or 1 <= key[0] <= count][:count]
    if len(kept) < count:
        raise UserError(f"{path} is damaged: {len(kept)} of {count} epochs are in it")
    return "".join(lines[key] + "\n" for key in kept)


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of the lines that are not damaged; none without such a file."""
    lines = map(_line, _text(path).splitlines()) if path.exists() else ()
    return [line for line in lines if line is not None]


def _line(text: str) -> dict[str, Any] | None:
    """The object of a line; None for a damaged one."""
    try:
        return verified(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
