"""The interface of both loaders."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from smskd.data.loaders.batching import BatchGroup
from smskd.data.loaders.identity import AugmentationSpace
from smskd.interfaces.batch import Batch, Progress
from smskd.interfaces.terms import DataInfo


@runtime_checkable
class Loader(Protocol):
    """A source of batches, epoch by epoch; an epoch can be asked for in any order, and again."""

    @property
    def info(self) -> DataInfo:
        """Number of samples and classes, batch size, and the labels where they are known."""
        ...

    @property
    def augmentation_space(self) -> AugmentationSpace:
        """All the images that the loader can produce."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hexadecimal, of the data that batches are made of."""
        ...

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        ...

    def epoch(
        self, number: int, progress: Progress | None = None, views: frozenset[str] = frozenset()
    ) -> Iterator[Batch]:
        """The batches of an epoch.

        Args:
            number: of the epoch in the run, from 1.
            progress: ``Batch.progress`` of every batch; default: epoch 1 of 1.
            views: names of the ``Batch.views`` that every batch brings beside the images to train on.
        """
        ...

    def groups(
        self, number: int, progress: Progress | None = None, views: frozenset[str] = frozenset()
    ) -> Iterator[BatchGroup]:
        """The batches of :meth:`epoch`, with the same arguments, coalesced into groups; on a CPU one batch each.

        :func:`~smskd.data.loaders.batching.split` makes batches of them. Only the batch of a group has ``keys``.
        """
        ...
