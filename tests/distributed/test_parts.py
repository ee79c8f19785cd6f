"""Which rows of a batch are whose."""

from collections.abc import Sequence

import pytest
import torch

from smskd.config.augmentation import AugmentationConfig
from smskd.data import Augmentation, Loader, MemoryLoader
from smskd.data.loaders.batching import split
from smskd.data.loaders.division import DividedLoader, Division, divided, some_of
from smskd.data.loaders.streaming import StreamingLoader
from smskd.interfaces.batch import Batch, Part
from smskd.training.pieces import pieces as in_pieces
from tests.support import tiny

PROCESSES = 3


def loaders() -> dict[str, Loader]:
    images, plain = tiny.digits().train, tiny.digits().augmentation()
    mixing = Augmentation(mean=plain.mean, std=plain.std, further=AugmentationConfig(mixup=1.0))
    return {
        "in memory": MemoryLoader(images, 19, plain, seed=5),
        "streaming": StreamingLoader(images, images.classes, 19, plain, seed=5),
        "mixed": MemoryLoader(images, 19, mixing, seed=5),
        "another": _Plain(MemoryLoader(images, 19, plain, seed=5)),
    }


class _Plain:
    """A loader that reads whole batches only."""

    def __init__(self, loader: MemoryLoader) -> None:
        self.info, self.fingerprint = loader.info, loader.fingerprint
        self.augmentation_space = loader.augmentation_space
        self.epoch, self.groups, self._length = loader.epoch, loader.groups, len(loader)

    def __len__(self) -> int:
        return self._length


@pytest.mark.parametrize("name", loaders())
@pytest.mark.parametrize("pieces", [1, 2])
def test_the_parts_of_a_batch_are_the_batch(name: str, pieces: int) -> None:
    loader = loaders()[name]
    parts = [list(divided(loader, Division(rank, PROCESSES, pieces=pieces)).epoch(3)) for rank in range(PROCESSES)]
    assert [len(own) for own in parts] == [len(loader)] * PROCESSES
    for whole, *own in zip(loader.epoch(3), *parts, strict=True):
        order = _order(whole, own)
        assert torch.equal(torch.cat([part.x for part in own])[order], whole.x)  # type: ignore[arg-type]
        assert torch.equal(torch.cat([part.y for part in own])[order], whole.y)
        if whole.targets is not None:
            targets = [part.targets for part in own if part.targets is not None]
            assert torch.equal(torch.cat(targets)[order], whole.targets)


def _order(whole: Batch, own: Sequence[Batch]) -> torch.Tensor:
    """Where the samples of a batch are among those of its parts."""
    assert whole.index is not None
    index = torch.cat([part.index for part in own if part.index is not None])
    places = torch.stack([(index == sample).nonzero()[0, 0] for sample in whole.index])
    if own[0].part is not None and not own[0].part.whole:
        assert len(index) == len(whole.index)
    return places


def test_pieces_of_all_processes_are_consecutive_rows_of_the_batch() -> None:
    loader = loaders()["in memory"]
    assert isinstance(loader, MemoryLoader)
    whole = next(loader.epoch(1))
    first = [next(loader_.epoch(1)) for loader_ in (divided(loader, Division(r, 2, pieces=2)) for r in range(2))]
    found = []
    for number in range(2):
        for own in first:
            assert own.part is not None
            rows, part = own.part.pieces(2)[number]
            assert part.continues == (number > 0)
            found.append(own.y[rows])
    assert torch.equal(torch.cat(found), whole.y)


def test_groups_of_several_batches_are_split_into_parts() -> None:
    loader = loaders()["in memory"]
    group = next(iter(DividedLoader(loader, Division(1, 2)).groups(1)))
    (batch,) = split(group)
    assert batch.part == Part((10, 9), 1)


@pytest.mark.parametrize("name", ["in memory", "streaming", "another"])
def test_an_evaluation_reads_each_batch_once(name: str) -> None:
    test = tiny.digits().test
    kinds: dict[str, Loader] = {
        "in memory": MemoryLoader(test, 6, shuffle=False),
        "streaming": StreamingLoader(test, test.classes, 6, shuffle=False),
        "another": _Plain(MemoryLoader(test, 6, shuffle=False)),
    }
    loader = kinds[name]
    shares = [list(some_of(loader, Division(rank, PROCESSES).batches(len(loader)))) for rank in range(PROCESSES)]
    found = torch.cat([batch.index for share in shares for batch in share if batch.index is not None])
    assert torch.equal(found, torch.arange(len(test)))
    assert [len(share) for share in shares] == [2, 2, 3]


@pytest.mark.parametrize(
    ("size", "pieces", "sizes", "whole"),
    [(10, 1, (5, 5), False), (7, 1, (4, 3), False), (3, 1, (3, 3), True), (8, 2, (4, 4), False), (5, 2, (3, 2), False)],
)
def test_sizes_of_parts(size: int, pieces: int, sizes: tuple[int, int], whole: bool) -> None:
    parts = [Division(rank, 2, pieces=pieces).part(size) for rank in range(2)]
    assert [part.sizes for part in parts] == [sizes] * 2
    assert parts[0].whole is whole
    assert sum(part.share for part in parts) == pytest.approx(1)
    assert sum(part.counted for part in parts) == size


def test_weights_of_pieces_sum_to_one() -> None:

    weights = []
    for rank in range(2):
        part = Division(rank, 2, pieces=2).part(11)
        batch = Batch(torch.zeros(part.size, 1), torch.zeros(part.size, dtype=torch.int64), part=part)
        found = list(in_pieces(batch, 2))
        assert sum(len(piece.y) for piece, _ in found) == part.size
        weights += [weight for _, weight in found]
    assert sum(weights) == pytest.approx(1)
