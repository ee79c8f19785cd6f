"""What is in a store, and removing what is not needed any more."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smskd.errors import UserError
from smskd.runs.atomic_files import remove_leftovers
from smskd.runs.tensor_files import read_metadata
from smskd.stage_store.store import SUFFIX, values_of

_DAY = 86400.0


@dataclass(frozen=True)
class Entry:
    """A file of a store.

    Attributes:
        file: of the stage.
        bytes: its size.
        used: when it was last written or read, in seconds since 1970.
        values: of the stage; None: the file is damaged.
    """

    file: Path
    bytes: int
    used: float
    values: dict[str, Any] | None

    @property
    def digest(self) -> str:
        """Of the stage."""
        return self.file.name.removesuffix(SUFFIX)

    @property
    def parent(self) -> str | None:
        """The digest of the stage before it."""
        return None if self.values is None else self.values["parent"]

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of this stage and of those before it."""
        stages = [] if self.values is None else self.values["facts"]["stages"]
        return tuple("+".join(item["name"] for item in stage["methods"]) or "plain" for stage in stages)

    @property
    def seed(self) -> int | None:
        """Of training."""
        return None if self.values is None else self.values["facts"]["run"]["runtime.seed"]

    @property
    def stages(self) -> int:
        """How many stages have come to their end in it."""
        return len(self.methods)

    @property
    def epochs(self) -> int:
        """Of this stage alone."""
        return 0 if self.values is None else len(self.values["metrics"])

    @property
    def seconds(self) -> float:
        """Of training of this stage alone."""
        return 0.0 if self.values is None else float(self.values["seconds"])


def listed(folder: Path) -> list[Entry]:
    """Everything in a store, the last used first.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    return sorted(_entries(folder), key=lambda entry: entry.used, reverse=True)


def prune(folder: Path, *, limit: int | None = None, unused_days: float | None = None) -> list[Entry]:
    """Removes stages, the least recently used first, and damaged files.

    A stage goes before the stages that it is built on: without it, these are still of use; without these, it is not.

    Args:
        folder: of the store.
        limit: bytes that the store may have afterwards; None: any number.
        unused_days: stages that were not used for longer are removed; None: none.

    Returns:
        What was removed.

    Raises:
        UserError: there is no such folder, or a file cannot be removed.
    """
    entries = listed(folder)
    used = _last_uses(entries)
    kept = sum(entry.bytes for entry in entries)
    removed = []
    for entry in sorted(entries, key=lambda entry: (entry.values is not None, used[entry.digest], -entry.stages)):
        old = unused_days is not None and time.time() - used[entry.digest] > unused_days * _DAY
        if entry.values is None or old or (limit is not None and kept > limit):
            _remove(entry.file)
            kept -= entry.bytes
            removed.append(entry)
    for entry in removed:
        remove_leftovers(entry.file)
    return removed


def _entries(folder: Path) -> Iterator[Entry]:
    for file in sorted(folder.glob(f"*{SUFFIX}")):
        with suppress(OSError):  # another process has just removed it
            status = file.stat()
            yield Entry(file, status.st_size, status.st_mtime, _values(file))


def _values(file: Path) -> dict[str, Any] | None:
    try:
        return values_of(file, read_metadata(file))
    except UserError:
        return None


def _last_uses(entries: list[Entry]) -> dict[str, float]:
    """When each stage, or one that is built on it, was last used."""
    used = {entry.digest: entry.used for entry in entries}
    for entry in sorted(entries, key=lambda entry: -entry.stages):
        if entry.parent in used:
            used[entry.parent] = max(used[entry.parent], used[entry.digest])
    return used


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{file} cannot be removed: {error.strerror or error}") from None
