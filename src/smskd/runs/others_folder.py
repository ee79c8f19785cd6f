"""The folder of a run, in a process that trains it together with the one that writes it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from smskd.runs.checkpoint_files import Checkpoint
from smskd.runs.folder import RunFolder


class OthersFolder(RunFolder):
    """A folder that another process writes: nothing is written or removed here."""

    def check_free(self) -> None:
        """Does nothing: the other process does it."""

    def create(self, recipe: str, environment: Mapping[str, Any]) -> None:
        """Likewise."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Likewise."""
        yield

    def save_recipe(self, recipe: str) -> None:
        """Likewise."""

    def save_environment(self, environment: Mapping[str, Any]) -> None:
        """Likewise."""

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Likewise."""

    def append_pretraining(self, line: Mapping[str, Any]) -> None:
        """Likewise."""

    def truncate(self, epoch: int, pretraining_epochs: int) -> None:
        """Likewise."""

    def save_checkpoint(self, checkpoint: Checkpoint, keep: int = 1) -> None:
        """Likewise."""

    def save_student(self, module: nn.Module, metadata: Mapping[str, str], stage: int | None = None) -> None:
        """Likewise."""

    def save_terms(self, terms: Mapping[str, Tensor], reference: Mapping[str, Tensor], limit: int, stage: int) -> None:
        """Likewise."""

    def restore_student(self) -> str | None:
        """Likewise."""
        return None

    def save_summary(self, summary: Mapping[str, Any]) -> None:
        """Likewise."""

    def conclude(self) -> None:
        """Likewise."""

    def discard(self) -> None:
        """Likewise."""
