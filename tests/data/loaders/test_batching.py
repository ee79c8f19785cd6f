"""Batches joined and split again, and several made at once."""

from collections.abc import Iterator

import pytest
import torch

from smskd.data import Images, MemoryLoader
from smskd.data.augment.crop_flip import Augmentation
from smskd.data.loaders import batching as together
from smskd.data.loaders.batching import coalesced_batches, joined, mapped, split, tensors
from smskd.interfaces.batch import Batch, FrozenOutputs, Progress, SampleKeys

VIEWS = frozenset({"strong"})


def loader(batch_size: int = 4, count: int = 21) -> MemoryLoader:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
    pictures = Images(images, torch.arange(count) % 5, tuple("abcde"))
    augmentation = Augmentation(mean=(0.5,) * 3, std=(0.3,) * 3, memory_format=torch.channels_last)
    return MemoryLoader(pictures, batch_size, augmentation)


def check_same(one: Batch, other: Batch) -> None:
    assert len(tensors(one)) == len(tensors(other))
    for mine, yours in zip(tensors(one), tensors(other), strict=True):
        assert torch.equal(mine, yours)
        assert mine.stride() == yours.stride()
    assert one.progress == other.progress
    assert (one.draw is None) == (other.draw is None)
    if one.draw is not None and other.draw is not None:
        assert one.draw.epoch == other.draw.epoch
        for name in ("index", "variant", "content"):
            mine, yours = getattr(one.draw, name), getattr(other.draw, name)
            assert (mine is None) == (yours is None)
            assert mine is None or torch.equal(mine, yours)


def check_all_same(some: Iterator[Batch], others: list[Batch]) -> None:
    for one, other in zip(some, others, strict=True):
        check_same(one, other)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_split_undoes_joined(count: int) -> None:
    batches = list(loader().epoch(3, Progress(2, 9), VIEWS))[:count]
    check_all_same(split(joined(batches), [len(batch.y) for batch in batches]), batches)


def test_what_there_is_not_of_every_batch_is_not_of_all() -> None:
    x, y = torch.zeros(2, 1, 2, 2), torch.zeros(2, dtype=torch.int64)
    with_all = Batch(x, y, y, draw=SampleKeys(y, 1, y, y))
    whole = joined([with_all, Batch(x, y)])
    assert (whole.index, whole.draw, len(whole.y)) == (None, None, 4)
    partly = joined([with_all, Batch(x, y, y, draw=SampleKeys(y, 1, None))])
    assert partly.index is not None
    assert partly.draw is not None
    assert (len(partly.draw.index), partly.draw.variant, partly.draw.content) == (4, None, None)


def test_outputs_are_tensors_of_the_batch() -> None:
    x, y = torch.arange(3.0).view(3, 1, 1, 1), torch.arange(3)
    batch = Batch(x, y, outputs=FrozenOutputs({"logits": torch.zeros(3, 5)}, {"logits": torch.ones(3, 5)}))
    assert [len(tensor) for tensor in tensors(batch)] == [3] * 4
    more = mapped(batch, lambda tensor: tensor + 1)
    assert more.outputs is not None
    assert float(more.outputs.reference["logits"].sum()) == 30
    first, rest = split(batch, [1, 2])
    assert rest.y.tolist() == [1, 2]
    assert first.outputs is not None
    assert first.outputs.teacher["logits"].shape == (1, 5)


@pytest.mark.parametrize("values", [0, 2 * 4 * 3 * 64, 1000 * 4 * 3 * 64])
def test_batches_made_together_are_those_made_alone(values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = list(loader().epoch(3, Progress(2, 9), VIEWS))
    monkeypatch.setitem(together.VALUES, "cpu", values)
    check_all_same(loader().epoch(3, Progress(2, 9), VIEWS), alone)


def test_how_many_are_taken_together() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert coalesced_batches(cpu, 64, (3, 32, 32)) == 1
    assert coalesced_batches(gpu, 64, (3, 32, 32)) == 16
    assert coalesced_batches(gpu, 1024, (3, 32, 32)) == 1
    assert coalesced_batches(gpu, 64, (3, 64, 64)) == 4
    assert coalesced_batches(gpu, 256, (3, 224, 224)) == 1
