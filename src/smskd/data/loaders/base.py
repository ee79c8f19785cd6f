"""What both loaders offer."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from smskd.interfaces.batch import Batch, Progress
from smskd.interfaces.terms import DataInfo


@runtime_checkable
class Loader(Protocol):
    """A source of batches, epoch by epoch; an epoch can be asked for in any order, and again."""

    @property
    def info(self) -> DataInfo:
        """Number of samples and classes, batch size, and the labels where they are known."""
        ...

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        ...

    def epoch(
        self, number: int, progress: Progress | None = None, views: frozenset[str] = frozenset()
    ) -> Iterator[Batch]:
        """The batches of an epoch; ``progress`` is what they say of the stage, ``views`` names the views of the
        pictures that they bring beside the pictures to train on."""
        ...
