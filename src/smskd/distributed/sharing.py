"""What the parts of a batch that several processes share have to do with each other."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from smskd.distributed.batch_norm import SynchronizedBatchNorm
from smskd.distributed.processes import ALONE, Processes
from smskd.interfaces.batch import Part


@dataclass(frozen=True)
class Sharing:
    """How processes share the batches of a run.

    Attributes:
        processes: that share them.
        gathers: whether terms that relate samples see the whole batch; otherwise each process's rows by themselves.
        synchronizes: whether batch norms take mean and variance of the whole batch; likewise.
    """

    processes: Processes = ALONE
    gathers: bool = True
    synchronizes: bool = True

    def divides(self, part: Part | None) -> bool:
        """Whether other processes have other rows of the batch."""
        return part is not None and not self.processes.alone and not part.whole

    def synchronized(self, part: Part | None) -> AbstractContextManager[object]:
        """Networks in train mode run within it."""
        if self.synchronizes and self.divides(part):
            return SynchronizedBatchNorm(self.processes)
        return nullcontext()

    def drawn(self, part: Part | None, device: torch.device) -> AbstractContextManager[object]:
        """What draws random numbers for each row by itself, as dropout does, runs within it."""
        return self.processes.draws.drawn(device) if self.divides(part) else nullcontext()

    def relates(self, part: Part | None) -> bool:
        """Whether the rows of other processes are to be gathered for terms that relate samples."""
        return self.gathers and self.divides(part)


UNSHARED = Sharing()
"""A process by itself."""
