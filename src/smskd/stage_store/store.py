"""A folder with a file for the end of each stage, named by the digest of all that determines it."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from smskd.errors import UserError
from smskd.runs.tensor_files import damaged, read_tensors, write_tensors

FORMAT = 1
"""Of the files; changes with what is in them."""

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class StageKey:
    """Identifies the end of a stage.

    Attributes:
        facts: everything that determines it, in types of JSON.
        parent: the digest of the stage before it; None: it is a first stage.
    """

    facts: Mapping[str, Any]
    parent: str | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the facts, hexadecimal."""
        return hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class StoredStage:
    """The end of a stage.

    Attributes:
        tensors: by name, as in a checkpoint.
        values: everything else, as JSON: ``counters``, ``metrics`` and ``pretraining`` (the lines of the stage),
            ``seconds`` of training, ``environment``.
    """

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class StageStore:
    """A store of stages.

    Attributes:
        path: of the folder.
    """

    path: Path

    def create(self) -> None:
        """Makes the folder if it is missing.

        Raises:
            UserError: it is a file, or cannot be made.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"runtime.store: {self.path} is a file; the store of stages is a folder")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"runtime.store: {self.path} cannot be made: {error.strerror or error}") from None

    def file(self, key: StageKey) -> Path:
        """The file of a stage, whether it is there or not."""
        return self.path / f"{key.digest}{SUFFIX}"

    def holds(self, key: StageKey) -> bool:
        """Whether there is such a stage; it may be damaged."""
        return self.file(key).is_file()

    def load(self, key: StageKey) -> StoredStage | None:
        """The end of a stage, its tensors on the CPU; None if it is not there. Its file counts as used.

        Raises:
            UserError: the file is damaged or cannot be read.
        """
        file = self.file(key)
        if not file.exists():
            return None
        tensors, metadata = read_tensors(file, own=True)
        values = values_of(file, metadata)
        if values["facts"] != json.loads(json.dumps(key.facts)):
            raise damaged(file, "it is the end of another stage")
        with suppress(OSError):  # a store that cannot be written is read all the same
            os.utime(file)
        return StoredStage(tensors, values)

    def save(self, key: StageKey, stage: StoredStage) -> None:
        """Writes the end of a stage.

        Raises:
            UserError: the file cannot be written.
        """
        values = {**stage.values, "format": FORMAT, "facts": key.facts, "parent": key.parent}
        write_tensors(self.file(key), stage.tensors, {"stage": json.dumps(values)})

    def discard(self, key: StageKey) -> None:
        """Removes the file of a stage, if it can be removed."""
        with suppress(OSError):
            self.file(key).unlink(missing_ok=True)


def values_of(file: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The values of the end of a stage.

    Args:
        file: for the message.
        metadata: of the file.

    Raises:
        UserError: it is another file, or of another format.
    """
    try:
        values = json.loads(metadata["stage"])
        known = values["format"] == FORMAT
    except (KeyError, ValueError, TypeError, RecursionError):
        raise damaged(file, "it is not the end of a stage") from None
    if not known:
        raise damaged(file, f"its format is not {FORMAT}")
    return dict(values)
