"""The environment in which ``torchrun``, ``accelerate launch`` and :mod:`smskd.distributed.launch` start processes."""

import os

RENDEZVOUS = "SMSKD_RENDEZVOUS"
"""The file at which the processes meet that ``smskd train --processes`` has started."""


def count() -> int:
    """The number of processes of the job that this process belongs to; 1: it belongs to none."""
    return _number("WORLD_SIZE", 1)


def rank() -> int:
    """The number of this process in its job, from 0."""
    return _number("RANK", 0)


def local_rank() -> int:
    """Likewise among those on this machine."""
    return _number("LOCAL_RANK", rank())


def is_first() -> bool:
    """Whether this process writes and prints for its job: the first one, or one that belongs to none."""
    return rank() == 0


def is_launched() -> bool:
    """Whether this package has started the process, and tells how the job ends."""
    return RENDEZVOUS in os.environ


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default
