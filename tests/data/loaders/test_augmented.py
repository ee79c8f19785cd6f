"""Every augmentation through both loaders: the same samples, whatever reads them."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from smskd.config.augmentation import AugmentationConfig
from smskd.data import Augmentation, Images, MemoryLoader, StreamingLoader
from smskd.data.loaders import batching
from smskd.data.loaders.batching import split
from smskd.errors import UserError

JITTER = {"brightness": 0.4, "contrast": 0.3, "saturation": 0.2, "hue": 0.1}
COUNTABLE = {"repeats": {"repeats": 3}, "inconsistent": {"consistent": False}}
UNCOUNTABLE = {
    "random_resized_crop": {"random_resized_crop": {}},
    "rotation": {"rotation": 20},
    "trivial_augment": {"policy": "trivial_augment"},
    "rand_augment": {"policy": "rand_augment"},
    "auto_augment": {"policy": "auto_augment"},
    "color_jitter": {"color_jitter": JITTER},
    "random_erasing": {"random_erasing": {"probability": 1.0, "value": "noise"}},
    "mixup": {"mixup": 0.8},
    "cutmix": {"cutmix": 1.0},
}
EVERYTHING = {
    "random_resized_crop": {},
    "rotation": 10,
    "policy": "rand_augment",
    "color_jitter": JITTER,
    "random_erasing": {},
    "mixup": 0.5,
    "cutmix": 0.5,
    "repeats": 2,
    "consistent": False,
}
CASES = {**COUNTABLE, **UNCOUNTABLE, "everything": EVERYTHING}
STRONG = frozenset({"strong"})


def images(n=21):
    generator = torch.Generator().manual_seed(0)
    coarse = 255 * torch.rand(n, 3, 4, 4, generator=generator)
    pixels = torch.nn.functional.interpolate(coarse, (10, 11), mode="bicubic").clamp(0, 255).to(torch.uint8)
    return Images(pixels, torch.arange(n) % 4, ("a", "b", "c", "d"))


def augmentation(memory_format=torch.contiguous_format, **settings):
    further = AugmentationConfig(**settings)
    padding = 0 if further.random_resized_crop else 2
    return Augmentation(
        mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), padding=padding, memory_format=memory_format, further=further
    )


class Listed(Dataset):
    def __init__(self, form=lambda image: image):
        self.images, self.form = images(), form
        self.targets = self.images.labels.tolist()

    def __len__(self):
        return len(self.images)

    def __getitem__(self, row):
        image, label = self.images[row]
        return self.form(image), label


def as_floats(image):
    return image.float() / 255 + float(torch.rand(()))


def samples(batches):
    return [
        {"x": b.x, "y": b.y, "index": b.index, "targets": b.targets, **dict(sorted(b.views.items()))} for b in batches
    ]


def assert_equal(one, other):
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert (a[name] is None) == (b[name] is None)
            assert a[name] is None or torch.equal(a[name], b[name]), name


@pytest.mark.parametrize("case", CASES)
def test_both_loaders_give_the_same_and_change_no_global_state(case):
    own = augmentation(**CASES[case])
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    memory, streaming = MemoryLoader(images(), 8, own, seed=3), StreamingLoader(Listed(), 4, 8, own, seed=3)
    for epoch in (2, 1):
        one = samples(memory.epoch(epoch, views=STRONG))
        assert_equal(one, samples(streaming.epoch(epoch, views=STRONG)))
        assert all(batch["x"].isfinite().all() and batch["x"].shape[1:] == (3, 10, 11) for batch in one)
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.equal(torch.get_rng_state(), before[2])


def test_workers_change_nothing():
    own = augmentation(**EVERYTHING)
    alone, workers = (StreamingLoader(Listed(), 4, 8, own, seed=3, workers=n) for n in (0, 2))
    assert_equal(samples(alone.epoch(1)), samples(workers.epoch(1)))


@pytest.mark.parametrize("case", CASES)
def test_groups_of_batches_change_nothing(case, monkeypatch):
    own = augmentation(**CASES[case])
    loader = MemoryLoader(images(), 4, own, seed=3)
    single = samples(loader.epoch(1, views=STRONG))
    monkeypatch.setitem(batching.VALUES, "cpu", 3 * 4 * 3 * 10 * 11)
    groups = list(loader.groups(1, views=STRONG))
    assert [len(group.sizes) for group in groups] == [3, 2]
    assert_equal(single, samples(batch for group in groups for batch in split(group)))
    streamed = StreamingLoader(Listed(), 4, 4, own, seed=3)
    assert_equal(single, samples(batch for group in streamed.groups(1, views=STRONG) for batch in split(group)))


@pytest.mark.parametrize("case", {**UNCOUNTABLE, "everything": EVERYTHING})
def test_images_change_from_epoch_to_epoch_and_with_the_seed(case):
    own = augmentation(**CASES[case])
    first, second = (MemoryLoader(images(), 21, own, seed=seed, shuffle=False) for seed in (1, 2))
    plain = MemoryLoader(images(), 21, augmentation(), seed=1, shuffle=False)
    x = [next(loader.epoch(epoch)).x for loader, epoch in ((first, 1), (first, 2), (second, 1), (plain, 1))]
    for other in x[1:]:
        differ = (x[0] != other).flatten(1).any(1)
        assert differ.double().mean() > 0.3
    assert first.augmentation_space.variants is None
    assert first.augmentation_space.identity != plain.augmentation_space.identity


@pytest.mark.parametrize("case", COUNTABLE)
def test_crop_and_flip_are_counted_with_repeats_and_for_the_teacher(case):
    own = augmentation(**COUNTABLE[case])
    loader = MemoryLoader(images(), 8, own, seed=3)
    assert loader.augmentation_space.variants == 50
    for group in loader.groups(1):
        expected = own.plain().apply(own.crop_and_flip(images().pixels[group.batch.index], group.batch.keys.variant))
        assert torch.equal(group.batch.teacher_images, expected)


def test_crop_and_flip_alone_are_what_they_were():
    plain = Augmentation(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), padding=2)
    assert augmentation() == plain
    assert augmentation(padding=7, flip=False).further is None


def test_repeats():
    loader = MemoryLoader(images(), 9, augmentation(repeats=3), seed=3)
    batches = list(loader.epoch(1))
    index = torch.cat([batch.index for batch in batches])
    assert [len(batch.index) for batch in batches] == [9, 9, 3]
    assert torch.equal(index, index[::3].repeat_interleave(3))
    assert index.unique().numel() == 7
    other = torch.cat([batch.index for batch in loader.epoch(2)])
    assert set(other.tolist()) != set(index.tolist())
    x = batches[0].x
    assert sum(not torch.equal(x[0], x[n]) for n in (1, 2)) >= 1
    plain = MemoryLoader(images(), 9, augmentation(), seed=3)
    kept = {int(i): image for batch in plain.epoch(1) for i, image in zip(batch.index, batch.x, strict=True)}
    assert torch.equal(x[0], kept[int(index[0])])


def test_an_inconsistent_teacher_has_images_of_its_own_and_the_same_partners():
    loader = MemoryLoader(images(), 21, augmentation(mixup=0.5, consistent=False), seed=3)
    batch = next(loader.epoch(1))
    assert not torch.equal(batch.views["teacher"], batch.x)
    assert batch.teacher_images is batch.views["teacher"]
    alone = next(MemoryLoader(images(), 21, augmentation(consistent=False), seed=3).epoch(1))
    weight = _share_of(batch.x, alone.x)
    torch.testing.assert_close(batch.teacher_images, _mix(alone.teacher_images, weight))


def _share_of(mixed, images):
    """The share with which images were mixed with those before them."""
    before = images.roll(1, 0)
    return float(((mixed - before) * (images - before)).sum() / (images - before).square().sum())


def _mix(images, share):
    return images * share + images.roll(1, 0) * (1 - share)


class TestFloats:
    """Of a data set's own transforms."""

    @pytest.mark.parametrize("settings", [{"mixup": 0.5}, {"cutmix": 0.5}, {"random_erasing": {}}, {"repeats": 3}])
    def test_what_applies_changes_them(self, settings):
        plain = StreamingLoader(Listed(as_floats), 4, 21, augmentation(), seed=3)
        own = StreamingLoader(Listed(as_floats), 4, 21, augmentation(**settings), seed=3)
        assert own.augmentation_space.variants is None
        assert own.augmentation_space.identity != plain.augmentation_space.identity
        one, other = next(plain.epoch(1)), next(own.epoch(1))
        assert not torch.equal(one.x, other.x)
        assert (other.targets is not None) == ("mixup" in settings or "cutmix" in settings)

    def test_workers_change_nothing(self):
        own = augmentation(cutmix=0.5, repeats=2, random_erasing={})
        alone, workers = (StreamingLoader(Listed(as_floats), 4, 8, own, seed=3, workers=n) for n in (0, 1))
        assert_equal(samples(alone.epoch(1)), samples(workers.epoch(1)))

    def test_the_teacher_cannot_have_other_ones(self):
        loader = StreamingLoader(Listed(as_floats), 4, 8, augmentation(consistent=False), seed=3)
        with pytest.raises(UserError, match="consistent"):
            next(loader.epoch(1))


def test_checksums_of_mixed_images_are_those_of_both():
    def contents(form):
        loader = StreamingLoader(Listed(form), 4, 21, augmentation(mixup=0.5), shuffle=False, checksums=True)
        return next(iter(loader.groups(1))).batch.keys.content

    def changed(image):
        return torch.zeros_like(image) if torch.equal(image, images()[4][0]) else image

    differ = contents(changed) != contents(lambda image: image)
    assert differ.nonzero()[:, 0].tolist() == [4, 5]


@pytest.mark.parametrize("case", ["mixup", "random_erasing", "everything"])
def test_memory_format_is_that_of_the_augmentation(case):
    own = augmentation(torch.channels_last, **CASES[case])
    batch = next(MemoryLoader(images(), 8, own).epoch(1))
    assert batch.x.is_contiguous(memory_format=torch.channels_last)


def test_a_call_makes_the_changes_of_single_images():
    own = augmentation(rotation=30, random_erasing={})
    batch = next(MemoryLoader(images(), 8, own, seed=3).epoch(2))
    assert torch.equal(own(images().pixels[batch.index], seed=3, epoch=2, index=batch.index), batch.x)
