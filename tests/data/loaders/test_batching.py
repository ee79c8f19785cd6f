"""Groups of batches and their parts."""

from collections.abc import Iterator

import pytest
import torch

from smskd.data import Images, MemoryLoader, StreamingLoader
from smskd.data.augment.crop_flip import Augmentation
from smskd.data.loaders import batching
from smskd.data.loaders.base import Loader
from smskd.data.loaders.batching import BatchGroup, coalesced_batches, mapped, split, tensors
from smskd.interfaces.batch import Batch, FrozenOutputs, Progress, SampleKeys
from smskd.interfaces.features import Tap

VIEWS = frozenset({"strong"})
PROGRESS = Progress(2, 9)
BATCH = 4
AUGMENTATION = Augmentation(mean=(0.5,) * 3, std=(0.3,) * 3, memory_format=torch.channels_last)


def images(count: int = 21) -> Images:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return Images(pixels, torch.arange(count) % 5, tuple("abcde"))


def memory() -> Loader:
    return MemoryLoader(images(), BATCH, AUGMENTATION)


def streaming() -> Loader:
    return StreamingLoader(images(), 5, BATCH, AUGMENTATION)


LOADERS = pytest.mark.parametrize("loader", [memory, streaming])


def check_same(some: Iterator[Batch], others: list[Batch]) -> None:
    for one, other in zip(some, others, strict=True):
        assert len(tensors(one)) == len(tensors(other))
        for mine, yours in zip(tensors(one), tensors(other), strict=True):
            assert torch.equal(mine, yours)
            assert mine.stride() == yours.stride()
        assert one.progress == other.progress
        assert (one.keys, other.keys) == (None, None)


@LOADERS
@pytest.mark.parametrize("count", [1, 2, 6])
def test_batches_of_coalesced_groups_are_those_made_one_by_one(
    loader, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = list(loader().epoch(3, PROGRESS, VIEWS))
    groups = list(loader().groups(3, PROGRESS, VIEWS))
    assert [group.sizes for group in groups] == [(4,)] * 5  # the last sample alone is left out
    monkeypatch.setitem(batching.VALUES, "cpu", count * BATCH * 3 * 64)
    groups = list(loader().groups(3, PROGRESS, VIEWS))
    assert [size for group in groups for size in group.sizes] == [4] * 5
    assert len(groups) == -(-5 // count)
    check_same((batch for group in groups for batch in split(group)), alone)
    check_same(loader().epoch(3, PROGRESS, VIEWS), alone)


@LOADERS
def test_keys_identify_the_images_of_a_group(loader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(batching.VALUES, "cpu", 3 * BATCH * 3 * 64)
    for group in loader().groups(7):
        batch, keys = group.batch, group.batch.keys
        assert keys is not None
        assert keys.epoch == 7
        assert torch.equal(keys.index, batch.index)
        assert torch.equal(AUGMENTATION.apply(images().pixels[keys.index], keys.variant), batch.x)
        assert keys.content is None


def test_checksums_are_in_the_keys_of_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [images()[row] for row in range(20)]
    monkeypatch.setitem(batching.VALUES, "cpu", 2 * BATCH * 3 * 64)
    keys = [group.batch.keys for group in StreamingLoader(rows, 5, BATCH, checksums=True).groups(1)]
    assert [len(some.content) for some in keys] == [8, 8, 4]
    content = torch.cat([some.content for some in keys])
    order = torch.cat([some.index for some in keys])
    changed = [(image if row != 5 else 255 - image, label) for row, (image, label) in enumerate(rows)]
    groups = StreamingLoader(changed, 5, BATCH, checksums=True).groups(1)
    other = torch.cat([group.batch.keys.content for group in groups])
    assert order[content != other].tolist() == [5]
    assert [group.batch.keys for group in StreamingLoader(rows, 5, BATCH).groups(1)] == [None] * 3


def test_only_batches_of_equal_images_are_coalesced(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(torch.zeros(1, 2 if row < 6 else 3, 2), 0) for row in range(12)]
    monkeypatch.setitem(batching.VALUES, "cpu", 10_000)
    groups = list(StreamingLoader(rows, 1, 3, shuffle=False).groups(1))
    assert [group.sizes for group in groups] == [(3, 3), (3, 3)]
    assert [group.batch.x.shape[2] for group in groups] == [2, 3]


def test_outputs_are_split_with_their_batch() -> None:
    x, y = torch.arange(3.0).view(3, 1, 1, 1), torch.arange(3)
    logits, pooled = Tap("logits"), Tap("pooled")
    outputs = FrozenOutputs({logits: torch.arange(15).view(3, 5), pooled: torch.zeros(3, 2)}, {logits: torch.ones(3)})
    batch = Batch(x, y, y, outputs=outputs, keys=SampleKeys(y, 1, y, y))
    assert [len(tensor) for tensor in tensors(batch)] == [3] * 6
    more = mapped(batch, lambda tensor: tensor + 1)
    assert more.outputs is not None
    assert float(more.outputs.reference[logits].sum()) == 6
    first, rest = split(BatchGroup(batch, (1, 2)))
    assert (first.keys, rest.keys) == (None, None)
    assert rest.y.tolist() == [1, 2]
    assert rest.outputs is not None
    assert rest.outputs.teacher[logits].tolist() == [[5, 6, 7, 8, 9], [10, 11, 12, 13, 14]]
    assert rest.outputs.teacher.keys() == {logits, pooled}
    assert first.outputs is not None
    assert first.outputs.reference[logits].shape == (1,)


def test_number_of_batches_in_a_group() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert coalesced_batches(cpu, 64, (3, 32, 32)) == 1
    assert coalesced_batches(gpu, 64, (3, 32, 32)) == 16
    assert coalesced_batches(gpu, 1024, (3, 32, 32)) == 1
    assert coalesced_batches(gpu, 64, (3, 64, 64)) == 4
    assert coalesced_batches(gpu, 256, (3, 224, 224)) == 1
