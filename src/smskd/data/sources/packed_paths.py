"""The paths of many files in two blocks of memory."""

import os
from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np


class PackedPaths(Sequence[str]):
    """Paths of files.

    A list of strings would be copied to each worker process path by path in the course of an epoch: reading an object
    of Python changes its count of references, and with it the page of memory that it shares with other processes.

    Args:
        paths: of the files.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        encoded = [os.fsencode(path) for path in paths]
        self._ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        self._bytes = b"".join(encoded)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[str]: ...
    def __getitem__(self, row: int | slice) -> str | Sequence[str]:
        """The path of a row."""
        if isinstance(row, slice):
            return [self[number] for number in range(*row.indices(len(self)))]
        place = range(len(self))[row]
        return os.fsdecode(self._bytes[self._ends[place] : self._ends[place + 1]])
