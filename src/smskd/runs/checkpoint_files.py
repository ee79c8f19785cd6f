"""The checkpoints of a run: the newest, and those before it."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from smskd.errors import UserError
from smskd.runs import atomic_files
from smskd.runs.atomic_files import not_writable, replacing
from smskd.runs.file_names import CHECKPOINT, MOST_CHECKPOINTS
from smskd.runs.tensor_files import read_tensors, write_tensors


@dataclass(frozen=True)
class Checkpoint:
    """A saved training state.

    Attributes:
        tensors: by name, with a prefix for the part of the state: ``optimizer.0.momentum_buffer``.
        values: everything else, as JSON.
        note: a sentence where it is not the newest that was written.
    """

    tensors: dict[str, Tensor]
    values: dict[str, Any]
    note: str = ""

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with ``<prefix>.``, by the rest of their names."""
        start = prefix + "."
        return {name.removeprefix(start): value for name, value in self.tensors.items() if name.startswith(start)}


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first: ``checkpoint.safetensors``, ``checkpoint.1.safetensors``, ..."""
    return [path for path in _paths(folder) if path.exists()]


def save(folder: Path, checkpoint: Checkpoint, keep: int) -> None:
    """Writes a checkpoint.

    Args:
        folder: of the run.
        checkpoint: to write.
        keep: number of checkpoints that are kept, this one included.

    Raises:
        UserError: it cannot be written; those that are there stay.
    """
    if keep > 1:
        _age(folder, keep)
    write_tensors(folder / CHECKPOINT, checkpoint.tensors, {"values": json.dumps(checkpoint.values)}, parents=False)


def load_newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is not damaged, its tensors on the CPU; it then has the newest name again.

    Returns:
        None if there is no checkpoint.

    Raises:
        UserError: all of them are damaged.
    """
    faults: list[UserError] = []
    for path in checkpoints(folder):
        try:
            found = _load(path)
        except UserError as error:
            faults.append(error)
            continue
        if path.name == CHECKPOINT:
            return found
        with suppress(OSError):  # where this fails, it is found again the next time
            os.replace(path, folder / CHECKPOINT)
        reason = faults[0] if faults else f"{folder / CHECKPOINT} is missing"
        return replace(found, note=f"{reason}; the run went on from the checkpoint before it.")
    if faults:
        raise faults[0]
    return None


def _load(path: Path) -> Checkpoint:
    tensors, metadata = read_tensors(path, own=True)
    try:
        return Checkpoint(tensors, json.loads(metadata["values"]))
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error})") from None


def remove(folder: Path) -> None:
    """Removes all checkpoints, the newest last: with it the run ends."""
    for path in reversed(checkpoints(folder)):
        try:
            path.unlink()
        except OSError as error:
            raise UserError(f"{path} cannot be removed: {error.strerror or error}") from error


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files that killed processes have left of the checkpoints."""
    for path in islice(_paths(folder), 2):  # the older ones are renamed, not written
        atomic_files.remove_leftovers(path)


def _paths(folder: Path) -> Iterator[Path]:
    """The names of checkpoints, newest first."""
    stem, _, suffix = CHECKPOINT.partition(".")
    yield folder / CHECKPOINT
    yield from (folder / f"{stem}.{age}.{suffix}" for age in range(1, MOST_CHECKPOINTS))


def _age(folder: Path, keep: int) -> None:
    """Gives each checkpoint the name of the one before it; under the newest name there is always a whole file."""
    paths = list(islice(_paths(folder), keep))
    try:
        for age in range(keep - 2, 0, -1):
            if paths[age].exists():
                os.replace(paths[age], paths[age + 1])
        if paths[0].exists():
            with replacing(paths[1], parents=False) as temporary:
                temporary.unlink()
                _link(paths[0], temporary)
    except OSError as error:
        raise not_writable(paths[1], error) from error


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # the file system has no hard links
        shutil.copyfile(source, target)
