"""Parsing the text files of a run; a damaged file is a UserError with its line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from smskd.config.messages import shown
from smskd.errors import UserError
from smskd.runs.checksums import verified

_LARGEST = 256 * 2**20
"""Bytes of a file; a larger one is not a file of a run."""


def json_mapping(file: Path, version: int | None = None) -> dict[str, Any]:
    """The object of a JSON file, without its checksum, which is compared.

    Args:
        file: to read.
        version: the only value of its key ``format`` that is read; None: any, or none.

    Raises:
        UserError: the file is missing, unreadable, or not a JSON object, of another format, or its checksum does not
            match.
    """
    content = _object(_text(file), f"{file}", first_line=1)
    if version is not None and content.get("format") != version:
        raise UserError(f"{file}: format {shown(content.get('format'))} is unknown; this version reads {version}")
    return _verified(content, f"{file}")


def json_lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file with one JSON object per line, without their checksums, which are compared.

    Args:
        file: to read.

    Yields:
        the number of the line, and its object; empty lines are skipped.

    Raises:
        UserError: the file is missing or unreadable, a line is not such an object, or a checksum does not match.
    """
    for number, line in enumerate(_text(file).splitlines(), start=1):
        if line.strip():
            place = f"{file}, line {number}"
            yield number, _verified(_object(line, place), place)


def yaml_mapping(file: Path) -> dict[str, Any]:
    """The mapping of a YAML file.

    Raises:
        UserError: the file is missing, unreadable, or not a YAML mapping.
    """
    try:
        content = yaml.safe_load(_text(file))
    except RecursionError:
        raise UserError(f"{file}: damaged YAML: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{file}{where}: damaged YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: damaged: expected a YAML mapping, not {type(content).__name__}")
    return content


def _object(text: str, place: str, first_line: int | None = None) -> dict[str, Any]:
    """The JSON object in a text.

    Args:
        text: of the object alone.
        place: named in errors.
        first_line: number of the text's first line, where errors name the line; None: ``place`` does already.
    """
    try:
        content = json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        line = "" if first_line is None else f", line {error.lineno - 1 + first_line}"
        raise UserError(f"{place}{line}: damaged JSON: {error.msg}") from None
    except RecursionError:
        raise UserError(f"{place}: damaged JSON: nested too deeply") from None
    except ValueError as error:
        raise UserError(f"{place}: damaged JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{place}: damaged: expected a JSON object, not {type(content).__name__}")
    return content


def _verified(content: dict[str, Any], place: str) -> dict[str, Any]:
    try:
        return verified(content)
    except ValueError as error:
        raise UserError(f"{place}: damaged: {error}") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number in JSON")


def _text(file: Path) -> str:
    try:
        if not file.is_file() and file.exists():
            raise UserError(f"{file}: this is not a file")
        if file.stat().st_size > _LARGEST:
            raise UserError(f"{file}: too large for a file of a run ({file.stat().st_size:,} bytes)")
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{file}: this file of the run is missing; train the run again") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: cannot be read: byte {error.start} is not UTF-8") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None
