import pytest
import torch

from smskd.data.augment.crop_flip import Augmentation
from smskd.data.images import Images
from smskd.data.loaders.base import Loader
from smskd.data.loaders.in_memory import MemoryLoader
from smskd.errors import UserError
from smskd.interfaces.batch import Progress

AUGMENTATION = Augmentation(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), padding=2)


def images(n=21):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, 3, 6, 6), dtype=torch.uint8, generator=generator)
    return Images(pixels, torch.arange(n) % 4, ("a", "b", "c", "d"))


def whole(batches):
    x, y, index = zip(*((batch.x, batch.y, batch.index) for batch in batches), strict=True)
    return torch.cat(x), torch.cat(y), torch.cat(index)


def test_an_epoch_visits_each_sample_once():
    some = images()
    loader = MemoryLoader(some, 8, AUGMENTATION, seed=3)
    assert isinstance(loader, Loader)
    batches = list(loader.epoch(1))
    assert [len(batch.y) for batch in batches] == [8, 8, 5]
    assert len(loader) == 3
    x, y, index = whole(batches)
    assert sorted(index.tolist()) == list(range(21))
    assert index.tolist() != list(range(21))
    assert torch.equal(y, some.labels[index])
    assert torch.equal(x, AUGMENTATION(some.pixels[index], seed=3, epoch=1, index=index))


def test_epochs_follow_from_seed_and_number():
    loader = MemoryLoader(images(), 8, AUGMENTATION, seed=3)
    first, second = whole(loader.epoch(1)), whole(loader.epoch(2))
    again = whole(MemoryLoader(images(), 8, AUGMENTATION, seed=3).epoch(1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[2], second[2])
    other = whole(MemoryLoader(images(), 8, AUGMENTATION, seed=4).epoch(1))
    assert not torch.equal(first[2], other[2])


def test_the_global_random_state_is_neither_read_nor_moved():
    loader = MemoryLoader(images(), 8, AUGMENTATION)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = whole(loader.epoch(1))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(whole(loader.epoch(1))[0], first[0])


def test_a_sample_looks_the_same_in_batches_of_any_size():
    some = images()
    one, other = (whole(MemoryLoader(some, size, AUGMENTATION, seed=3).epoch(5)) for size in (6, 7))
    assert torch.equal(one[0][one[2].argsort()], other[0][other[2].argsort()])


@pytest.mark.parametrize(
    ("n", "options", "sizes"),
    [
        (21, {}, [10, 10]),
        (21, {"shuffle": False}, [10, 10, 1]),
        (22, {}, [10, 10, 2]),
        (22, {"drop_last": True}, [10, 10]),
        (20, {"drop_last": True}, [10, 10]),
    ],
)
def test_the_last_batch(n, options, sizes):
    loader = MemoryLoader(images(n), 10, **options)
    assert [len(batch.y) for batch in loader.epoch(1)] == sizes
    assert len(loader) == len(sizes)


def test_batches_of_one_are_kept_when_asked_for():
    assert len(MemoryLoader(images(3), 1)) == 3


def test_evaluation_is_in_order_and_normalised_only():
    some = images()
    loader = MemoryLoader(some, 10, AUGMENTATION.plain(), shuffle=False)
    x, _, index = whole(loader.epoch(9))
    assert index.tolist() == list(range(21))
    assert torch.equal(x, AUGMENTATION.plain().apply(some.pixels))


def test_without_augmentation_values_are_0_to_1():
    some = images()
    x, _, index = whole(MemoryLoader(some, 10, shuffle=False).epoch(1))
    torch.testing.assert_close(x, some.pixels[index].float() / 255)


def test_progress_goes_into_every_batch():
    loader = MemoryLoader(images(), 8)
    progress = Progress(3, 90)
    assert [batch.progress for batch in loader.epoch(1, progress=progress)] == [progress] * 3
    assert next(loader.epoch(1)).progress == Progress()


def test_info():
    some = images()
    info = MemoryLoader(some, 8).info
    assert (info.samples, info.classes, info.batch_size) == (21, 4, 8)
    assert info.labels is not None
    assert torch.equal(info.labels, some.labels)


@pytest.mark.parametrize(
    ("n", "options", "message"),
    [
        (21, {"batch_size": 0}, "batch_size is 0"),
        (5, {"batch_size": 8, "drop_last": True}, r"5 sample\(s\) make no batch of 8"),
        (1, {"batch_size": 8}, r"1 sample\(s\) make no batch"),
        (0, {"batch_size": 8, "shuffle": False}, r"0 sample\(s\) make no batch"),
        (21, {"augmentation": Augmentation(mean=(0.5,), std=(0.5,))}, "3 channel"),
    ],
)
def test_mistakes(n, options, message):
    with pytest.raises(UserError, match=message):
        MemoryLoader(images(n), **options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_what_the_cpu_gives():
    here = whole(MemoryLoader(images(), 8, AUGMENTATION, seed=3).epoch(4))
    there = whole(MemoryLoader(images(), 8, AUGMENTATION, seed=3, device="cuda").epoch(4))
    assert all(part.is_cuda for part in there)
    torch.testing.assert_close(there[0].cpu(), here[0], rtol=0, atol=2e-6)
    assert torch.equal(there[1].cpu(), here[1])
    assert torch.equal(there[2].cpu(), here[2])
