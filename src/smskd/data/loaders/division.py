"""Batches that several processes share: which rows are whose."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from smskd.data.loaders.base import Loader
from smskd.data.loaders.batching import BatchGroup, mapped, split
from smskd.data.loaders.identity import AugmentationSpace
from smskd.interfaces.batch import Batch, Part, Progress, in_pieces
from smskd.interfaces.terms import DataInfo

_LEAST = 2
"""Rows that each process has at least: batch norm has no variance of one value."""


@dataclass(frozen=True)
class Division:
    """How batches are shared: each process has consecutive rows, the first ones one more where that is necessary.

    Attributes:
        rank: of this process, from 0.
        processes: number of them.
        whole: whether every process has every batch as a whole.
        pieces: of a batch that a step takes one after another; each of them is shared by all processes.
    """

    rank: int
    processes: int
    whole: bool = False
    pieces: int = 1

    def part(self, size: int) -> Part:
        """The rows of a batch of this size that this process has. A batch that is too small is not shared."""
        if self.whole or size < _LEAST * self.processes:
            return Part((size,) * self.processes, self.rank, whole=True)
        pieces = min(self.pieces, size // (_LEAST * self.processes))
        parts = tuple(
            Part(tuple(reversed(in_pieces(piece, self.processes))), self.rank, continues=number > 0)
            for number, piece in enumerate(in_pieces(size, pieces))
        )
        if pieces == 1:
            return parts[0]
        return Part(tuple(map(sum, zip(*(part.sizes for part in parts), strict=True))), self.rank, divided=parts)

    def cut(self, bounds: Sequence[tuple[int, int]]) -> "Cut":
        """The division of batches with these bounds in the order of an epoch."""
        parts = tuple(self.part(end - begin) for begin, end in bounds)
        places = [begin + _rows_of(part) for (begin, _), part in zip(bounds, parts, strict=True)]
        ends = torch.tensor([len(own) for own in places]).cumsum(0).tolist()
        return Cut(torch.cat(places), list(zip([0, *ends[:-1]], ends, strict=True)), parts)

    def batches(self, count: int) -> range:
        """The batches, of so many, that this process has where batches are shared out whole: consecutive ones."""
        return range(count * self.rank // self.processes, count * (self.rank + 1) // self.processes)


def _rows_of(part: Part) -> Tensor:
    """The rows of a batch that this process has, int64."""
    rows, begin = [], 0
    for piece in part.divided or (part,):
        rows.append(torch.arange(begin + piece.rows.start, begin + piece.rows.stop))
        begin += piece.total
    return torch.cat(rows)


@dataclass(frozen=True)
class Cut:
    """The rows of an epoch that this process has.

    Attributes:
        places: in the order of the whole epoch, int64 [n].
        bounds: begin and end of each batch in ``places``.
        parts: of each batch.
    """

    places: Tensor
    bounds: list[tuple[int, int]]
    parts: tuple[Part, ...]


@runtime_checkable
class Divisible(Protocol):
    """A loader that need not read the rows of other processes."""

    def divided(self, division: Division) -> Loader | None:
        """A loader of this process's rows; None where a row depends on others of its batch (mixup, CutMix)."""
        ...

    def some(self, batches: range) -> Loader:
        """A loader of some consecutive batches of an epoch, in whose order nothing is random."""
        ...


def divided(loader: Loader, division: Division) -> Loader:
    """A loader of this process's rows of each batch."""
    own = loader.divided(division) if isinstance(loader, Divisible) else None
    return DividedLoader(loader, division) if own is None else own


def some_of(loader: Loader, batches: range) -> Iterator[Batch]:
    """Some consecutive batches of the first epoch, in whose order nothing is random."""
    if isinstance(loader, Divisible):
        yield from loader.some(batches).epoch(0)
        return
    for number, batch in enumerate(loader.epoch(0)):
        if number in batches:
            yield batch


class DividedLoader:
    """The rows of this process, of batches that are made as a whole.

    Args:
        loader: of the batches.
        division: of them.
    """

    def __init__(self, loader: Loader, division: Division) -> None:
        self._loader = loader
        self._division = division

    @property
    def info(self) -> DataInfo:
        """Of the whole batches."""
        return self._loader.info

    @property
    def augmentation_space(self) -> AugmentationSpace:
        """Of the whole batches."""
        return self._loader.augmentation_space

    @property
    def fingerprint(self) -> str:
        """Of the data."""
        return self._loader.fingerprint

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self._loader)

    def epoch(
        self, number: int, progress: Progress | None = None, views: frozenset[str] = frozenset()
    ) -> Iterator[Batch]:
        """This process's rows of the batches of an epoch; see :meth:`Loader.epoch`."""
        for group in self.groups(number, progress, views):
            yield from split(group)

    def groups(
        self, number: int, progress: Progress | None = None, views: frozenset[str] = frozenset()
    ) -> Iterator[BatchGroup]:
        """The batches of :meth:`epoch` in groups; see :meth:`Loader.groups`."""
        for group in self._loader.groups(number, progress, views):
            ends = torch.tensor(group.sizes).cumsum(0).tolist()
            cut = self._division.cut(list(zip([0, *ends[:-1]], ends, strict=True)))
            own = _rows(replace(group.batch, keys=None), cut.places)
            yield BatchGroup(own, tuple(end - begin for begin, end in cut.bounds), cut.parts)


def _rows(batch: Batch, places: Tensor) -> Batch:
    if len(places) == len(batch.y):
        return batch
    places = places.to(batch.y.device)
    return mapped(batch, lambda tensor: tensor[places])
