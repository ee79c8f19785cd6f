"""Parsing the text files of a run; a damaged file is a UserError with its line."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from smskd.errors import UserError


def json_mapping(file: Path) -> dict[str, Any]:
    """The object of a JSON file.

    Raises:
        UserError: the file is missing, unreadable, or not a JSON object.
    """
    try:
        content = json.loads(_text(file))
    except json.JSONDecodeError as error:
        raise UserError(f"{file}, line {error.lineno}: damaged JSON: {error.msg}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: damaged: expected a JSON object, not {type(content).__name__}")
    return content


def json_lines(file: Path, keys: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The objects of a file with one JSON object per line; empty lines are skipped.

    Args:
        file: to read.
        keys: that every object must have.

    Raises:
        UserError: the file is missing or unreadable, or a line is not such an object.
    """
    for number, line in enumerate(_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{file}, line {number}: damaged JSON: {error.msg}") from None
        missing = [key for key in keys if not isinstance(entry, dict) or key not in entry]
        if missing:
            raise UserError(f"{file}, line {number}: damaged: {', '.join(missing)} missing")
        yield entry


def yaml_mapping(file: Path) -> dict[str, Any]:
    """The mapping of a YAML file.

    Raises:
        UserError: the file is missing, unreadable, or not a YAML mapping.
    """
    try:
        content = yaml.safe_load(_text(file))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{file}{where}: damaged YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: damaged: expected a YAML mapping, not {type(content).__name__}")
    return content


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{file}: this file of the run is missing; train the run again") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read: {error}") from None
