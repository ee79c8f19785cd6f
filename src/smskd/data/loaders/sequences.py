"""Batches of sequences in memory, each as long as its longest sample."""

from collections.abc import Iterator

import torch
from torch import Tensor

from smskd.data.loaders.batching import BatchGroup
from smskd.data.loaders.identity import AugmentationSpace, identity_of
from smskd.data.loaders.sampler import batch_bounds, epoch_order
from smskd.data.texts import Texts
from smskd.errors import UserError
from smskd.interfaces.batch import Batch, Progress, SampleKeys
from smskd.interfaces.terms import DataInfo


class SequenceLoader:
    """Batches of sequences in memory: the loader of :class:`~smskd.data.Texts`.

    Order and batches are those of :class:`~smskd.data.MemoryLoader` for the same seed. ``Batch.x`` has the tensors by
    name. Nothing is augmented: a sample has a single variant.

    Args:
        texts: they are moved to the device once.
        batch_size: default 64.
        seed: of the order; default 0.
        device: of the batches; default: the CPU.
        shuffle: a new order every epoch; default true. Without it nothing is left out of an epoch.

    Raises:
        UserError: no batch can be made.
    """

    def __init__(
        self,
        texts: Texts,
        batch_size: int = 64,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        shuffle: bool = True,
    ) -> None:
        self._bounds = batch_bounds(len(texts), batch_size, drop_last=False, training=shuffle)
        self._texts = texts.to(device)
        self._labels = self._texts.known_labels()
        self._batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle

    @property
    def info(self) -> DataInfo:
        """Number of samples and classes, batch size, and the labels on the device."""
        return DataInfo(len(self._texts), self._texts.classes, self._batch_size, self._labels)

    @property
    def augmentation_space(self) -> AugmentationSpace:
        """The samples themselves: there are no variants."""
        identity = identity_of(self.fingerprint, "sequences")
        batches = identity_of(self._bounds, self._shuffle)
        padding = tuple(sorted(self._texts.padding.items()))
        return AugmentationSpace(identity, len(self._texts), 1, batches, padding)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of the samples; see :meth:`smskd.data.Texts.fingerprint`."""
        return self._texts.fingerprint()

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self._bounds)

    def epoch(
        self, number: int, progress: Progress | None = None, views: frozenset[str] = frozenset()
    ) -> Iterator[Batch]:
        """The batches of an epoch.

        Args:
            number: of the epoch in the run; with the seed it determines the order.
            progress: ``Batch.progress`` of every batch; default: epoch 1 of 1.
            views: must be empty: there are no further views of sequences.

        Raises:
            UserError: a view is wanted.
        """
        if views:
            raise UserError(f"there is no view '{min(views)}' of texts; choose a method that reads no augmented views")
        order = epoch_order(len(self._texts), self._seed, number, self._shuffle)
        for begin, end in self._bounds:
            yield self._batch(order[begin:end], number, progress or Progress())

    def groups(
        self, number: int, progress: Progress | None = None, views: frozenset[str] = frozenset()
    ) -> Iterator[BatchGroup]:
        """The batches of :meth:`epoch`, with the same arguments, each a group of its own: their lengths differ."""
        for batch in self.epoch(number, progress, views):
            yield BatchGroup(batch, (len(batch.y),))

    def _batch(self, rows: Tensor, epoch: int, progress: Progress) -> Batch:
        index = rows.to(self._labels.device)
        keys = SampleKeys(rows, epoch, torch.zeros_like(rows))
        return Batch(self._texts.batch(rows), self._labels[index], index, progress, keys=keys)
