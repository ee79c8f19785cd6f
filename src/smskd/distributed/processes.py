"""The processes of a job, and what they say to each other."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from smskd.distributed import environment
from smskd.distributed.draws import OwnDraws
from smskd.errors import UserError

T = TypeVar("T")

_PATIENCE = timedelta(days=7)
"""A process waits for the others that long: one may be reading data. That one has died is noticed by what started
them."""


_LOOK = 1.0
"""Seconds between two looks at the parent process."""

_GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo/transport", "NCCL error")
"""In the RuntimeError with which PyTorch tells that another process is gone."""


def lost_another(error: BaseException) -> bool:
    """Whether an error tells that another process of the job is gone."""
    if isinstance(error, dist.DistBackendError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _GONE)


class Processes:
    """The processes that train a run together; a single one where there is nothing else.

    Every method is called by all of them, in the same order.

    Args:
        rank: of this process, from 0.
        count: of all of them.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count
        self.draws = OwnDraws()
        """The random numbers that this process draws for its part alone."""

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.count == 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def add(self, values: Tensor) -> Tensor:
        """The sum over the processes, in place; the same bits in each."""
        if not self.alone:
            dist.all_reduce(values)
        return values

    def most(self, values: Tensor) -> Tensor:
        """The maximum over the processes, in place."""
        if not self.alone:
            dist.all_reduce(values, op=dist.ReduceOp.MAX)
        return values

    def stacked(self, values: Tensor) -> Tensor:
        """The tensors of all processes, of one shape, one after the other in a new first dimension."""
        found = [torch.empty_like(values) for _ in range(self.count)]
        dist.all_gather(found, values.contiguous())
        return torch.stack(found)

    def all_of(self, value: T) -> list[T]:
        """The values of all processes, which can be pickled, in their order."""
        if self.alone:
            return [value]
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, value)
        return found

    def from_first(self, made: Callable[[], T]) -> T:
        """A value that the first process makes for all of them.

        Raises:
            UserError: the first process raises it; then all do.
        """
        if self.alone:
            return made()
        told: list[Any] = [None, None]
        if self.first:
            try:
                told[0] = made()
            except UserError as error:
                told[1] = str(error)
        dist.broadcast_object_list(told, src=0)
        if told[1] is not None:
            raise UserError(told[1])
        value: T = told[0]
        return value

    def same(self, tensors: Sequence[Tensor]) -> None:
        """Gives the tensors of all processes the values of the first one's."""
        if not self.alone:
            for tensor in tensors:
                whole = tensor.detach().contiguous()
                dist.broadcast(whole, src=0)
                if not self.first:
                    tensor.detach().copy_(whole)

    def wait(self) -> None:
        """Waits until all processes have come here."""
        if not self.alone:
            dist.all_gather_object([None] * self.count, None)

    def device(self, device: torch.device) -> torch.device:
        """The device of this process: each has a GPU of its own.

        Raises:
            UserError: there are fewer GPUs than processes on this machine.
        """
        if self.alone or device.type != "cuda":
            return device
        here, found = environment.local_rank(), torch.cuda.device_count()
        if here >= found:
            raise UserError(
                f"{self.count} processes need as many GPUs, and there {'is' if found == 1 else 'are'} {found}: start "
                "fewer, or train on the CPU with runtime.device=cpu"
            )
        torch.cuda.set_device(here)
        return torch.device("cuda", here)


ALONE = Processes()
"""A process by itself."""

_joined = ALONE


def join() -> Processes:
    """The processes of the job that this process was started in; it waits until all have come.

    Raises:
        UserError: they do not find each other.
    """
    global _joined
    count = environment.count()
    if count == 1 or not _joined.alone:
        return _joined
    if not dist.is_initialized():
        if environment.is_launched():
            threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        file = os.environ.get(environment.RENDEZVOUS)
        method = "env://" if file is None else f"file://{file}"
        try:
            dist.init_process_group(
                backend, init_method=method, rank=environment.rank(), world_size=count, timeout=_PATIENCE
            )
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise UserError(f"the {count} processes of this job do not find each other: {reason}") from error
    _joined = Processes(dist.get_rank(), dist.get_world_size())
    return _joined


def _end_with_parent(parent: int) -> None:
    """Ends this process when the one that has started it is gone: nothing would end it where it waits for another."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)


def leave() -> None:
    """Ends what :func:`join` has begun."""
    global _joined
    if not _joined.alone and dist.is_initialized():
        dist.destroy_process_group()
    _joined = ALONE
