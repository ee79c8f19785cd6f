"""The folder of a run: what is in it, written so that a crash at any moment loses nothing that was there."""

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.runs import atomic_files as files

RECIPE, ENVIRONMENT, METRICS, SUMMARY = "recipe.yaml", "environment.json", "metrics.jsonl", "summary.json"
PRETRAINING = "pretraining.jsonl"
STUDENT, CHECKPOINT = "student.safetensors", "checkpoint.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A saved state: tensors by name, and everything else as JSON values."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under a prefix, without it."""
        start = prefix + "."
        return {name.removeprefix(start): value for name, value in self.tensors.items() if name.startswith(start)}


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run.

    Attributes:
        path: of the folder.
    """

    path: Path

    def check_free(self) -> None:
        """Raises UserError if the folder holds another run, or is no folder."""
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file; a run needs a folder")
        if any((self.path / name).exists() for name in (RECIPE, METRICS, SUMMARY, CHECKPOINT)):
            raise UserError(
                f"{self.path} holds another run; choose another folder with --out, "
                f"or go on with that run: smskd resume {shlex.quote(str(self.path))}"
            )

    def create(self, recipe: str, environment: Mapping[str, Any]) -> None:
        """Makes the folder, with the recipe and the environment in it.

        Raises:
            UserError: it holds another run, or is no folder.
        """
        self.check_free()
        try:
            files.write_json(self.path / ENVIRONMENT, environment)
            files.write_text(self.path / RECIPE, recipe)
        except OSError as error:
            raise UserError(f"{self.path} cannot be written: {error.strerror}") from None

    def save_recipe(self, recipe: str) -> None:
        """Replaces the recipe."""
        files.write_text(self.path / RECIPE, recipe)

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint."""
        return (self.path / CHECKPOINT).exists()

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end, its page included."""
        return (self.path / SUMMARY).is_file() and not (self.path / CHECKPOINT).exists()

    def note_threads(self, threads: int) -> None:
        """Puts the number of threads that the run computes with into its environment."""
        path = self.path / ENVIRONMENT
        if path.is_file() and not self.finished:
            environment = json.loads(path.read_text(encoding="utf-8"))
            files.write_json(path, {**environment, "threads": threads})

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Adds the line of an epoch."""
        _append(self.path / METRICS, line)

    def append_pretraining(self, line: Mapping[str, Any]) -> None:
        """Adds the line of an epoch of a phase before a stage."""
        _append(self.path / PRETRAINING, line)

    def truncate(self, epoch: int, pretraining_epochs: int) -> None:
        """Drops what the checkpoint does not cover: the lines of epochs that will be trained again, and what a killed
        process had begun to write."""
        files.remove_leftovers(self.path)
        for name, count in ((METRICS, epoch), (PRETRAINING, pretraining_epochs)):
            path = self.path / name
            lines = path.read_bytes().splitlines(keepends=True)[:count] if path.exists() else []
            if len(lines) < count or not all(map(_is_json, lines)):
                raise UserError(f"{path} is damaged; remove it and {self.path / CHECKPOINT} to start the run again")
            if path.exists():
                files.write_text(path, b"".join(lines).decode())

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Replaces the checkpoint."""
        metadata = {"values": json.dumps(checkpoint.values)}
        files.write_tensors(self.path / CHECKPOINT, checkpoint.tensors, metadata)

    def load_checkpoint(self) -> Checkpoint | None:
        """The last checkpoint; None if there is none yet.

        Raises:
            UserError: the file is damaged.
        """
        path = self.path / CHECKPOINT
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
                return Checkpoint(tensors, json.loads(files.metadata_of(file.metadata())["values"]))
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} is damaged ({error}); remove it to start the run again") from None

    def save_student(self, module: nn.Module, metadata: Mapping[str, str], stage: int | None = None) -> None:
        """Writes the weights of a stage's student (counted from 1), or of the run's result."""
        folder = self.path if stage is None else self.path / "stages" / str(stage)
        files.write_tensors(folder / STUDENT, module.state_dict(), metadata)

    def save_summary(self, summary: Mapping[str, Any]) -> None:
        """Writes the summary."""
        files.write_json(self.path / SUMMARY, summary)

    def load_summary(self) -> dict[str, Any]:
        """The summary of a finished run.

        Raises:
            UserError: the file is damaged.
        """
        path = self.path / SUMMARY
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error})") from None
        return value if isinstance(value, dict) else {}

    def conclude(self) -> None:
        """Marks the run as finished: removes the checkpoint, from which nothing has to go on any more."""
        (self.path / CHECKPOINT).unlink(missing_ok=True)

    def discard(self) -> None:
        """Takes back what :meth:`create` wrote, if no epoch has come of it: a run that cannot begin is no run."""
        if not any((self.path / name).exists() for name in (METRICS, CHECKPOINT, SUMMARY)):
            for name in (RECIPE, ENVIRONMENT):
                (self.path / name).unlink(missing_ok=True)


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _append(path: Path, line: Mapping[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
