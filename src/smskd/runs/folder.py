"""Writing and resuming a run: its folder survives a crash at any moment."""

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from smskd.errors import UserError
from smskd.runs import atomic_files as files
from smskd.runs.file_names import CHECKPOINT, ENVIRONMENT, METRICS, PRETRAINING, RECIPE, STUDENT, SUMMARY
from smskd.runs.tensor_files import read_tensors, write_tensors

__all__ = [
    "CHECKPOINT",
    "ENVIRONMENT",
    "METRICS",
    "PRETRAINING",
    "RECIPE",
    "STUDENT",
    "SUMMARY",
    "Checkpoint",
    "RunFolder",
]


@dataclass(frozen=True)
class Checkpoint:
    """A saved training state.

    Attributes:
        tensors: by name, with a prefix for the part of the state: ``optimizer.0.momentum_buffer``.
        values: everything else, as JSON.
    """

    tensors: dict[str, Tensor]
    values: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with ``<prefix>.``, by the rest of their names."""
        start = prefix + "."
        return {name.removeprefix(start): value for name, value in self.tensors.items() if name.startswith(start)}


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run.

    Attributes:
        path: of the folder; it need not exist yet.
    """

    path: Path

    def check_free(self) -> None:
        """Checks that a new run can be written here; other files in the folder do not matter.

        Raises:
            UserError: the path is a file, or the folder contains a run.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file; a run needs a folder")
        if any((self.path / name).exists() for name in (RECIPE, METRICS, SUMMARY, CHECKPOINT)):
            raise UserError(
                f"{self.path} holds another run; choose another folder with --out, "
                f"or resume that run: smskd resume {shlex.quote(str(self.path))}"
            )

    def create(self, recipe: str, environment: Mapping[str, Any]) -> None:
        """Creates the folder of a new run.

        Args:
            recipe: the resolved recipe, as YAML.
            environment: versions and device, as JSON.

        Raises:
            UserError: the folder contains a run or cannot be written.
        """
        self.check_free()
        try:
            files.write_json(self.path / ENVIRONMENT, environment)
            files.write_text(self.path / RECIPE, recipe)
        except OSError as error:
            raise UserError(f"{self.path} cannot be written: {error.strerror}") from None

    def save_recipe(self, recipe: str) -> None:
        """Replaces the recipe, given as YAML."""
        files.write_text(self.path / RECIPE, recipe)

    def load_recipe(self) -> str:
        """The recipe's text."""
        return (self.path / RECIPE).read_text(encoding="utf-8")

    @property
    def has_metrics(self) -> bool:
        """Whether epochs have been trained."""
        return any((self.path / name).exists() for name in (METRICS, PRETRAINING))

    @property
    def has_checkpoint(self) -> bool:
        """Whether the folder contains a checkpoint."""
        return (self.path / CHECKPOINT).exists()

    @property
    def finished(self) -> bool:
        """Whether the run is complete, including its page."""
        return (self.path / SUMMARY).is_file() and not (self.path / CHECKPOINT).exists()

    def note_threads(self, threads: int) -> None:
        """Adds the number of CPU threads to the environment of an unfinished run."""
        path = self.path / ENVIRONMENT
        if path.is_file() and not self.finished:
            environment = json.loads(path.read_text(encoding="utf-8"))
            files.write_json(path, {**environment, "threads": threads})

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Appends the metrics of an epoch.

        Raises:
            ValueError: a value is NaN or infinite, which JSON cannot represent.
        """
        _append(self.path / METRICS, line)

    def append_pretraining(self, line: Mapping[str, Any]) -> None:
        """Appends the metrics of an epoch of a pretraining phase.

        Raises:
            ValueError: a value is NaN or infinite, which JSON cannot represent.
        """
        _append(self.path / PRETRAINING, line)

    def truncate(self, epoch: int, pretraining_epochs: int) -> None:
        """Removes everything that is newer than the checkpoint: metrics of epochs that will be trained again, and
        temporary files.

        Args:
            epoch: the last epoch that the checkpoint includes; 0: none.
            pretraining_epochs: the number of epochs of pretraining phases that it includes.

        Raises:
            UserError: metrics are missing or damaged.
        """
        files.remove_leftovers(self.path)
        for name, count in ((METRICS, epoch), (PRETRAINING, pretraining_epochs)):
            path = self.path / name
            lines = path.read_bytes().splitlines(keepends=True)[:count] if path.exists() else []
            if len(lines) < count or not all(map(_is_json_object, lines)):
                raise UserError(f"{path} is damaged; remove it and {self.path / CHECKPOINT} to start the run again")
            if path.exists():
                files.write_text(path, b"".join(lines).decode())

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Replaces the checkpoint."""
        metadata = {"values": json.dumps(checkpoint.values)}
        write_tensors(self.path / CHECKPOINT, checkpoint.tensors, metadata)

    def load_checkpoint(self) -> Checkpoint | None:
        """The last checkpoint, its tensors on the CPU; None if there is none.

        Raises:
            UserError: the file is damaged.
        """
        path = self.path / CHECKPOINT
        if not path.exists():
            return None
        try:
            tensors, metadata = read_tensors(path, own=True)
            return Checkpoint(tensors, json.loads(metadata["values"]))
        except (UserError, KeyError, ValueError) as error:
            raise UserError(f"{error}; remove it to start the run again") from None

    def save_student(self, module: nn.Module, metadata: Mapping[str, str], stage: int | None = None) -> None:
        """Writes the weights of a student.

        Args:
            module: the student.
            metadata: name, options and classes of the model, from which it can be built again.
            stage: the student as it is at the end of this stage, counted from 1; None: the resulting student.
        """
        folder = self.path if stage is None else self.path / "stages" / str(stage)
        write_tensors(folder / STUDENT, module.state_dict(), metadata)

    def save_summary(self, summary: Mapping[str, Any]) -> None:
        """Writes the summary."""
        files.write_json(self.path / SUMMARY, summary)

    def load_summary(self) -> dict[str, Any]:
        """The summary of a finished run.

        Raises:
            UserError: the file is missing or damaged.
        """
        path = self.path / SUMMARY
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error})") from None
        return value if isinstance(value, dict) else {}

    def conclude(self) -> None:
        """Marks the run as finished by removing the checkpoint."""
        (self.path / CHECKPOINT).unlink(missing_ok=True)

    def discard(self) -> None:
        """Undoes :meth:`create` if no epoch has been trained, so that the folder can be used again."""
        if not any((self.path / name).exists() for name in (METRICS, CHECKPOINT, SUMMARY)):
            for name in (RECIPE, ENVIRONMENT):
                (self.path / name).unlink(missing_ok=True)


def _is_json_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _append(path: Path, line: Mapping[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
