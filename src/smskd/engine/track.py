"""Showing the progress within an epoch: a wrapper around its batches."""

from collections.abc import Callable, Iterable

from smskd.types import Batch

Track = Callable[[Iterable[Batch], int, str], Iterable[Batch]]
"""Wraps the batches of an epoch, to show progress: (batches, how many, what for)."""


def untracked(batches: Iterable[Batch], total: int, what: str) -> Iterable[Batch]:
    """Shows nothing."""
    return batches
