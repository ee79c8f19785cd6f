import pytest
import torch

from smskd.config.data import LoaderConfig
from smskd.data import Images, MemoryLoader, StreamedSamples, StreamingLoader
from smskd.data.augment.crop_flip import Augmentation
from smskd.data.loaders.base import Loader
from smskd.data.loaders.make import make_loader

AUGMENTATION = Augmentation(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), padding=2, memory_format=torch.channels_last)


def images(n=21):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, 3, 6, 7), dtype=torch.uint8, generator=generator)
    return Images(pixels, torch.arange(n) % 4, ("a", "b", "c", "d"))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("shuffle", [True, False])
def test_both_kinds_give_the_same_batches_of_images_in_memory(workers, shuffle):
    memory = make_loader(images(), 8, AUGMENTATION, seed=3, shuffle=shuffle)
    config = LoaderConfig(kind="streaming", workers=workers)
    streaming = make_loader(images(), 8, AUGMENTATION, config=config, seed=3, shuffle=shuffle, checksums=True)
    assert isinstance(memory, MemoryLoader)
    assert isinstance(streaming, StreamingLoader)
    assert memory.augmentation_space == streaming.augmentation_space
    assert memory.fingerprint == streaming.fingerprint == images().fingerprint()
    views = frozenset({"strong"})
    for epoch in (1, 2):
        for one, other in zip(memory.groups(epoch, views=views), streaming.groups(epoch, views=views), strict=True):
            assert one.sizes == other.sizes
            for mine, yours in (
                (one.batch.x, other.batch.x),
                (one.batch.y, other.batch.y),
                (one.batch.index, other.batch.index),
                (one.batch.views["strong"], other.batch.views["strong"]),
                (one.batch.keys.index, other.batch.keys.index),
                (one.batch.keys.variant, other.batch.keys.variant),
            ):
                assert torch.equal(mine, yours)
                assert mine.stride() == yours.stride()
            assert (one.batch.keys.content, other.batch.keys.content) == (None, None)


@pytest.mark.parametrize(
    ("split", "kind", "expected"),
    [
        (images(), "auto", MemoryLoader),
        (images(), "memory", MemoryLoader),
        (images(), "streaming", StreamingLoader),
        (StreamedSamples(images(), tuple("abcd")), "auto", StreamingLoader),
        (StreamedSamples(images(), tuple("abcd")), "streaming", StreamingLoader),
    ],
)
def test_the_kind_of_loader(split, kind, expected):
    loader = make_loader(split, 8, config=LoaderConfig(kind=kind))
    assert isinstance(loader, expected)
    assert isinstance(loader, Loader)
    assert loader.info.classes == 4


@pytest.mark.parametrize("of_bytes", [True, False])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_memory_format_is_that_of_bytes_and_floats(of_bytes, memory_format):
    rows = [(image if of_bytes else image / 255, label) for image, label in (images()[row] for row in range(21))]
    other = torch.channels_last if memory_format == torch.contiguous_format else torch.contiguous_format
    for augmentation in (None, Augmentation(mean=(0.5,) * 3, std=(0.5,) * 3, memory_format=other)):
        loader = StreamingLoader(rows, 4, 8, augmentation, memory_format=memory_format)
        assert next(loader.epoch(1)).x.is_contiguous(memory_format=memory_format)
    augmentation = Augmentation(mean=(0.5,) * 3, std=(0.5,) * 3, memory_format=memory_format)
    assert next(StreamingLoader(rows, 4, 8, augmentation).epoch(1)).x.is_contiguous(memory_format=memory_format)
