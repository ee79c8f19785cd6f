"""The runs of several seeds that are wanted, written down before the first of their folders is made."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smskd.errors import UserError
from smskd.runs.atomic_files import not_writable, remove_leftovers, write_json
from smskd.runs.checksums import verified, with_checksum
from smskd.runs.file_names import SEEDS


def note_wanted(folder: Path, recipes: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes down the runs that are about to be made.

    Args:
        folder: in which they are.
        recipes: the resolved recipe of each, by the name of its folder.

    Raises:
        UserError: runs of an earlier time have not been made yet, or the file cannot be written.
    """
    if (folder / SEEDS).exists():
        raise UserError(f"{folder} holds runs that have not begun yet; begin them with: smskd resume {folder}")
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
    except (ValueError, KeyError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); remove it to resume the runs that have begun") from None
    # Names of folders here, and nowhere else.
    return {name: recipe for name, recipe in runs.items() if Path(name).name == name and isinstance(recipe, dict)}


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
