"""Writing and resuming a run: its folder survives a crash at any moment."""

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from smskd.errors import UserError
from smskd.runs import atomic_files as files
from smskd.runs import checkpoint_files, student_files, term_files, verification
from smskd.runs.checkpoint_files import Checkpoint
from smskd.runs.checksums import verified, with_checksum
from smskd.runs.file_names import (
    CHECKPOINT,
    ENVIRONMENT,
    METRICS,
    PRETRAINING,
    RECIPE,
    STAGES,
    STORED,
    STUDENT,
    SUMMARY,
    TERMS,
)
from smskd.runs.lock import locked
from smskd.runs.metrics_file import append_line, kept_lines, whole_lines

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
class RunFolder:
    """The folder of a run. No method but :meth:`create` makes it: a folder that is removed stays removed.

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
        if any((self.path / name).exists() for name in (RECIPE, METRICS, SUMMARY, STUDENT, CHECKPOINT)):
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
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise files.not_writable(self.path, error) from None
        with self.locked():
            self.check_free()
            self.save_environment(environment)
            self.save_recipe(recipe)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from training this run.

        Raises:
            UserError: another process trains it, or the folder is gone or cannot be written.
        """
        if not self.path.is_dir():
            raise UserError(f"{self.path}: this folder of a run is gone")
        with locked(self.path):
            yield

    def save_recipe(self, recipe: str) -> None:
        """Replaces the recipe, given as YAML."""
        files.write_text(self.path / RECIPE, recipe, parents=False)

    def load_recipe(self) -> str:
        """The recipe's text.

        Raises:
            UserError: it cannot be read.
        """
        try:
            return (self.path / RECIPE).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UserError(f"{self.path / RECIPE} cannot be read: {error}") from None

    @property
    def has_metrics(self) -> bool:
        """Whether epochs have been trained."""
        return any((self.path / name).exists() for name in (METRICS, PRETRAINING))

    @property
    def has_checkpoint(self) -> bool:
        """Whether the folder contains a checkpoint."""
        return bool(checkpoint_files.checkpoints(self.path))

    @property
    def finished(self) -> bool:
        """Whether training is complete and its results are there."""
        return (self.path / SUMMARY).is_file() and not self.has_checkpoint

    def save_environment(self, environment: Mapping[str, Any]) -> None:
        """Replaces the versions and the device."""
        files.write_json(self.path / ENVIRONMENT, with_checksum(environment), parents=False)

    def load_environment(self) -> dict[str, Any] | None:
        """Versions and device; None where the file is missing or damaged."""
        try:
            return _verified_json(self.path / ENVIRONMENT)
        except UserError:
            return None

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Appends the metrics of an epoch.

        Raises:
            ValueError: a value is NaN or infinite, which JSON cannot represent.
            UserError: the file cannot be written, or is gone.
        """
        append_line(self.path / METRICS, line, first=line.get("epoch") == 1)

    def append_pretraining(self, line: Mapping[str, Any]) -> None:
        """Appends the metrics of an epoch of a pretraining phase.

        Raises:
            ValueError: a value is NaN or infinite, which JSON cannot represent.
            UserError: the file cannot be written.
        """
        append_line(self.path / PRETRAINING, line, first=True)

    def lines(self) -> tuple[int, int]:
        """The number of epochs in the metrics, and in those of pretraining phases, that were trained in this run."""
        metrics, pretraining = (whole_lines(self.path / name) for name in (METRICS, PRETRAINING))
        return sum(not line.get(STORED) for line in metrics), sum(not line.get(STORED) for line in pretraining)

    def lines_of_stage(self, stage: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The metrics of the epochs of a stage, counted from 1, and those of the pretraining phases before it."""
        metrics, pretraining = (whole_lines(self.path / name) for name in (METRICS, PRETRAINING))
        return (
            [line for line in metrics if line.get("stage") == stage],
            [line for line in pretraining if line.get("stage") == stage],
        )

    def last_metrics(self) -> dict[str, Any]:
        """The metrics of the last epoch.

        Raises:
            UserError: there are none.
        """
        lines = whole_lines(self.path / METRICS)
        if not lines:
            raise UserError(f"{self.path / METRICS} holds no epoch")
        return lines[-1]

    def truncate(self, epoch: int, pretraining_epochs: int) -> None:
        """Removes everything that is newer than the checkpoint: metrics of epochs that will be trained again, and the
        run's temporary files.

        Args:
            epoch: the last epoch that the checkpoint includes; 0: none.
            pretraining_epochs: the number of epochs of pretraining phases that it includes.

        Raises:
            UserError: metrics are missing or damaged.
        """
        metrics, pretraining = self.path / METRICS, self.path / PRETRAINING
        kept = {
            metrics: self._kept(metrics, ("epoch",), epoch, numbered=True),
            pretraining: self._kept(pretraining, ("stage", "method", "epoch"), pretraining_epochs, numbered=False),
        }
        self._remove_leftovers()
        for path, text in kept.items():
            if path.exists():
                files.write_text(path, text, parents=False)

    def save_checkpoint(self, checkpoint: Checkpoint, keep: int = 1) -> None:
        """Writes a checkpoint.

        Args:
            checkpoint: to write.
            keep: number of checkpoints that are kept, this one included.
        """
        checkpoint_files.save(self.path, checkpoint, keep)

    def load_checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint that is not damaged, its tensors on the CPU; None if there is none.

        Raises:
            UserError: all of them are damaged.
        """
        try:
            return checkpoint_files.load_newest(self.path)
        except UserError as error:
            raise UserError(f"{error}; {self.to_start_again(self.path / CHECKPOINT)}") from None

    def to_start_again(self, wrong: Path) -> str:
        """Words for the files to remove so that the run starts again: ``remove it and metrics.jsonl to ...``.

        Args:
            wrong: the file that the words before these name.
        """
        files = (*checkpoint_files.checkpoints(self.path), self.path / METRICS, self.path / PRETRAINING)
        names = ["it"] if wrong.exists() else []
        names += [path.name for path in files if path != wrong and path.exists()]
        return f"remove {' and '.join(names)} to start the run again"

    def save_student(self, module: nn.Module, metadata: Mapping[str, str], stage: int | None = None) -> None:
        """Writes the weights of a student.

        Args:
            module: the student.
            metadata: name, options and classes of the model, from which it can be built again.
            stage: the student as it is at the end of this stage, counted from 1; None: the resulting student.
        """
        student_files.save(self.path, module, metadata, stage)

    def save_terms(self, terms: Mapping[str, Tensor], reference: Mapping[str, Tensor], limit: int, stage: int) -> None:
        """Writes the modules of a stage's terms, and the reference where it is not the student of the stage before.

        Args:
            terms, reference, limit: as :func:`smskd.runs.term_files.save` takes them.
            stage: counted from 1, whose student is saved.
        """
        term_files.save(self.path, stage, terms, reference, limit)

    def stage_student(self, stage: int) -> Path:
        """The file of the student that a stage, counted from 1, has carried on."""
        return student_files.of_stage(self.path, stage)

    def problem_of_student(self, stage: int) -> str:
        """Why the weights that a stage, counted from 1, has carried on cannot be read; empty if they can."""
        return student_files.problem(self.stage_student(stage))

    def restore_student(self) -> str | None:
        """Writes the weights of a finished run's student again, where they are missing or damaged; returns a sentence
        about it.

        Raises:
            UserError: nothing is left of them, or the file cannot be written.
        """
        return student_files.restore(self.path, len(self.load_summary()["stages"]))

    def damages(self) -> list[str]:
        """A sentence for each file of a finished run that is damaged or missing; ``recipe.yaml`` may be edited."""
        return verification.damages(self.path)

    def save_summary(self, summary: Mapping[str, Any]) -> None:
        """Writes the summary."""
        files.write_json(self.path / SUMMARY, with_checksum(summary), parents=False)

    def load_summary(self) -> dict[str, Any]:
        """The summary of a finished run.

        Raises:
            UserError: the file is missing or damaged.
        """
        return _verified_json(self.path / SUMMARY)

    def conclude(self) -> None:
        """Marks the run as finished by removing the checkpoints.

        Raises:
            UserError: one cannot be removed.
        """
        checkpoint_files.remove(self.path)

    def discard(self) -> None:
        """Undoes :meth:`create` if no epoch has been trained, so that the folder can be used again."""
        if not any((self.path / name).exists() for name in (METRICS, CHECKPOINT, SUMMARY)):
            for name in (RECIPE, ENVIRONMENT):
                with suppress(OSError):
                    (self.path / name).unlink(missing_ok=True)

    def _kept(self, path: Path, fields: tuple[str, ...], count: int, *, numbered: bool) -> str:
        try:
            return kept_lines(path, fields, count, numbered=numbered)
        except UserError as error:
            raise UserError(f"{error}; {self.to_start_again(path)}") from None

    def _remove_leftovers(self) -> None:
        names = (RECIPE, ENVIRONMENT, METRICS, PRETRAINING, STUDENT, SUMMARY)
        stages = [folder / name for folder in (self.path / STAGES).glob("*") for name in (STUDENT, TERMS)]
        for path in (*(self.path / name for name in names), *stages):
            files.remove_leftovers(path)
        checkpoint_files.remove_leftovers(self.path)


def _verified_json(path: Path) -> dict[str, Any]:
    try:
        return verified(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error})") from None
