"""The runs of several seeds that are wanted, written down before the first of their folders is made."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smskd.errors import UserError
from smskd.runs.atomic_files import not_writable, remove_leftovers, write_json
from smskd.runs.checksums import verified, with_checksum
from smskd.runs.file_names import SEEDS

_FOLDER = re.compile(r"seed\d{1,10}")
"""The name of the folder of a run."""


def note_wanted(folder: Path, recipes: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes down the runs that are about to be made.

    Args:
        folder: in which they are.
        recipes: the resolved recipe of each, by the name of its folder.

    Raises:
        UserError: runs of an earlier time have not been made yet, or the file cannot be written.
    """
    if (folder / SEEDS).exists():
        again = f"smskd resume {shlex.quote(str(folder))}"
        raise UserError(f"{folder} holds runs that have not begun yet; begin them with: {again}")
    write_json(folder / SEEDS, with_checksum({"runs": dict(recipes)}))


def wanted_runs(folder: Path) -> dict[str, dict[str, Any]]:
    """The recipes of the runs that have been written down, by the names of their folders; empty without any.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / SEEDS
    if not path.exists():
        return {}
    try:
        runs = verified(json.loads(path.read_text(encoding="utf-8")))["runs"]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(runs, dict) or not all(isinstance(recipe, dict) for recipe in runs.values()):
        raise _damaged(path, "its runs are not recipes")
    for name in runs:
        if not _FOLDER.fullmatch(name):  # a folder here, and nowhere else
            raise _damaged(path, f"{name!r} is not the folder of a seed")
    return runs


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is damaged ({reason}); remove it to resume the runs that have begun")


def all_begun(folder: Path) -> None:
    """All runs have folders of their own now.

    Raises:
        UserError: the file cannot be removed.
    """
    remove_leftovers(folder / SEEDS)
    try:
        (folder / SEEDS).unlink(missing_ok=True)
    except OSError as error:
        raise not_writable(folder / SEEDS, error) from None
