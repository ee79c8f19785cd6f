"""Running out of memory, as one line for the user."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from smskd.errors import UserError

_ON_A_CPU = ("can't allocate memory", "DefaultCPUAllocator", "not enough memory")
"""In PyTorch's message where the CPU's memory does not suffice, which is a plain RuntimeError."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory does not suffice, on a CPU or a GPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _ON_A_CPU)


@contextmanager
def out_of_memory_told(work: Callable[[], str]) -> Iterator[None]:
    """Within, running out of memory raises a UserError.

    Args:
        work: gives the beginning of its message: for what memory does not suffice, and what would need less.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"memory does not suffice for {work()} ({reason})") from error
