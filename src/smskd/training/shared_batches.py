"""The batches of a run as this process has them: its part of each, and of an evaluation some of them."""

from collections.abc import Iterator

import torch
from torch import Tensor

from smskd.data import Loader
from smskd.data.loaders.division import Division, divided, some_of
from smskd.distributed.processes import Processes
from smskd.distributed.sharing import Sharing
from smskd.interfaces.batch import Batch


class SharedBatches:
    """Divides the loaders of a run, each once, so that processes that read samples are kept.

    Args:
        sharing: of the batches.
        accumulate: number of pieces of a batch that a step takes one after another.
    """

    def __init__(self, sharing: Sharing, accumulate: int = 1) -> None:
        self.sharing = sharing
        self._accumulate = accumulate
        self._divided: dict[tuple[int, bool], tuple[Loader, Loader]] = {}

    @property
    def processes(self) -> Processes:
        """That share the batches."""
        return self.sharing.processes

    def division(self, *, whole: bool) -> Division:
        """How batches are divided.

        Args:
            whole: whether every process is given the whole of each batch.
        """
        return Division(self.processes.rank, self.processes.count, whole, self._accumulate)

    def of(self, loader: Loader, *, divides: bool) -> Loader:
        """The loader of this process's part of each batch.

        Args:
            loader: of the batches.
            divides: whether the objective takes parts.
        """
        if self.processes.alone:
            return loader
        key = id(loader), divides
        if key not in self._divided:
            # With the loader itself, so that no other one gets its id.
            self._divided[key] = loader, divided(loader, self.division(whole=not divides))
        return self._divided[key][1]

    def tested(self, loader: Loader) -> tuple[Iterator[Batch], int]:
        """The batches that this process evaluates, and their number."""
        if self.processes.alone:
            return loader.epoch(0), len(loader)
        batches = self.division(whole=False).batches(len(loader))
        return some_of(loader, batches), len(batches)

    def all_tested(self, values: Tensor) -> Tensor:
        """What all processes have found for the batches of :meth:`tested`, on the CPU, in the order of the data set."""
        return torch.cat(self.processes.all_of(values.cpu()))
