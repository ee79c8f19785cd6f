import random

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from smskd.data.augment.crop_flip import Augmentation
from smskd.data.images import Images
from smskd.data.loaders.base import Loader
from smskd.data.loaders.in_memory import MemoryLoader
from smskd.data.loaders.streaming import StreamingLoader
from smskd.errors import UserError
from smskd.interfaces.batch import Progress

AUGMENTATION = Augmentation(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), padding=2)


def images(n=21):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, 3, 6, 7), dtype=torch.uint8, generator=generator)
    return Images(pixels, torch.arange(n) % 4, ("a", "b", "c", "d"))


def as_array(image):
    return image.permute(1, 2, 0).numpy()


def as_pil(image):
    return Image.fromarray(as_array(image))


class Transformed(Dataset):
    """Images as a user's data set would give them."""

    def __init__(self, source, image=lambda image: image, label=lambda label: label):
        self.source, self.image, self.label = source, image, label

    def __len__(self):
        return len(self.source)

    def __getitem__(self, row):
        image, label = self.source[row]
        return self.image(image), self.label(label)


class Noisy(Dataset):
    """Floats with random numbers of three kinds."""

    def __len__(self):
        return 12

    def __getitem__(self, row):
        return torch.tensor([[[row, random.random(), np.random.rand(), float(torch.rand(()))]]]), row % 2


def whole(batches):
    x, y, index = zip(*((batch.x, batch.y, batch.index) for batch in batches), strict=True)
    return torch.cat(x), torch.cat(y), torch.cat(index)


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("form", [lambda image: image, as_array, as_pil])
@pytest.mark.parametrize("shuffle", [True, False])
def test_both_loaders_give_the_same_samples(form, shuffle):
    some = images()
    memory = MemoryLoader(some, 8, AUGMENTATION, seed=3, shuffle=shuffle)
    streaming = StreamingLoader(Transformed(some, form), 4, 8, AUGMENTATION, seed=3, shuffle=shuffle)
    assert isinstance(streaming, Loader)
    assert len(streaming) == len(memory)
    for epoch in (1, 2):
        one, other = list(memory.epoch(epoch)), list(streaming.epoch(epoch))
        assert [len(batch.y) for batch in one] == [len(batch.y) for batch in other]
        assert equal(whole(one), whole(other))


def test_images_are_a_map_style_data_set():
    some = images()
    streaming = StreamingLoader(some, 4, 8)
    assert equal(whole(streaming.epoch(1)), whole(MemoryLoader(some, 8).epoch(1)))
    assert streaming.info.labels is not None
    assert torch.equal(streaming.info.labels, some.labels)


def test_floats_are_taken_as_they_are():
    some = images()
    loader = StreamingLoader(
        Transformed(some, lambda image: image.double() - 7),
        4,
        8,
        AUGMENTATION,
        memory_format=torch.channels_last,
    )
    x, _, index = whole(loader.epoch(1))
    assert torch.equal(x, some.pixels[index].float() - 7)
    assert next(loader.epoch(1)).x.is_contiguous(memory_format=torch.channels_last)


def test_gray_images():
    gray = Transformed(images(), lambda image: Image.fromarray(image[0].numpy()))
    x, _, index = whole(StreamingLoader(gray, 4, 8).epoch(1))
    torch.testing.assert_close(x, images().pixels[index][:, :1].float() / 255)


def test_workers_change_nothing():
    for dataset in (images(), Noisy()):
        alone = StreamingLoader(dataset, 4, 5, seed=1)
        helped = StreamingLoader(dataset, 4, 5, seed=1, workers=2)
        for epoch in (1, 2):
            assert equal(whole(alone.epoch(epoch)), whole(helped.epoch(epoch)))


def test_random_transforms_are_reproducible_and_leave_no_trace():
    loader = StreamingLoader(Noisy(), 2, 5, seed=1)
    first = whole(loader.epoch(1))
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    assert equal(whole(loader.epoch(1)), first)
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    by_row = first[0][first[2].argsort()].flatten(1)
    for noise in by_row[:, 1:].unbind(1):
        assert len(set(noise.tolist())) == 12
    second = whole(loader.epoch(2))
    assert not torch.equal(second[0][second[2].argsort()].flatten(1)[:, 1:], by_row[:, 1:])


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("label", "message"),
    [
        (4, r"^sample 6: the label is 4; with 4 classes labels are 0 to 3$"),
        (-1, "^sample 6: the label is -1"),
        ("cat", "^sample 6: the label is 'cat'; it has to be an integer from 0 to 3$"),
        (1.0, "^sample 6: the label is 1.0"),
        (True, "^sample 6: the label is True"),
        (torch.tensor([1, 2]), r"^sample 6: the label is tensor\(\[1, 2\]\)"),
    ],
)
def test_bad_labels(label, message, workers):
    rows = [(torch.zeros(1, 2, 2), label if row == 6 else row % 4) for row in range(9)]
    with pytest.raises(UserError, match=message):
        list(StreamingLoader(rows, 4, 4, workers=workers).epoch(1))


@pytest.mark.parametrize("label", [np.int64(3), torch.tensor(3), torch.tensor([3]), np.array([3]), 3])
def test_good_labels(label):
    assert next(StreamingLoader([(torch.zeros(1, 2, 2), label)] * 4, 4, 4).epoch(1)).y.tolist() == [3] * 4


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ((torch.zeros(1, 3, 2), 0), r"float32 \[1, 3, 2\].*bring all to one size and type"),
        ((torch.zeros(1, 2, 2, dtype=torch.uint8), 0), r"uint8 \[1, 2, 2\]"),
        ((torch.zeros(1, 2, 2, dtype=torch.int64), 0), "^sample 6: the image is made of int64"),
        ((torch.zeros(2), 0), r"^sample 6: the image has shape \[2\]"),
        (("cat.png", 0), "^sample 6: the image is a str"),
        ({"image": 0, "label": 1}, "^sample 6: the image is a int"),
        (
            {"image": 0, "label": 1, "labels": 2},
            "^sample 6 is a dict with the keys image, label, labels; it has to have",
        ),
        (
            {"photo": 0, "label": 1},
            "^sample 6 is a dict with the keys photo, label; it has to have exactly one of image",
        ),
        ((torch.zeros(1, 2, 2), 0, 6), "^sample 6 has 3 elements; it has to be a pair"),
        (
            (torch.full((1, 2, 2), torch.nan), 0),
            "^sample 6: the image has 4 NaN among 4 values; it has to have numbers",
        ),
        ((torch.full((1, 2, 2), -torch.inf), 0), "^sample 6: the image has 4 infinite values among 4"),
        (
            (torch.full((1, 2, 2), 1e30), 0),
            r"^sample 6: the image has the value 1e\+30; it has to have numbers between",
        ),
        ((np.full((1, 2, 2), 1e300), 0), "^sample 6: the image has 4 infinite values"),
        ((np.zeros((2, 2), dtype=np.uint16), 0), "^sample 6: the image is made of uint16, whose range is unknown"),
        ((np.zeros((2, 2), dtype=object), 0), "^sample 6: the image is made of object; it has to be made of uint8"),
        ((torch.zeros(1, 0, 2), 0), r"^sample 6: the image has shape \[1, 0, 2\]"),
    ],
)
def test_bad_images(sample, message):
    rows = [sample if row == 6 else (torch.zeros(1, 2, 2), 0) for row in range(9)]
    with pytest.raises(UserError, match=message):
        list(StreamingLoader(rows, 4, 9, shuffle=False).epoch(1))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_exception_of_the_data_set_is_told_with_its_place(workers):
    def broken(image):
        raise ZeroDivisionError("mine\nand yours")

    message = r"^sample 0: the data set raised ZeroDivisionError: mine and yours \(test_streaming.py, line \d+\)$"
    with pytest.raises(UserError, match=message) as caught:
        list(StreamingLoader(Transformed(images(), broken), 4, 4, shuffle=False, workers=workers).epoch(1))
    if not workers:
        assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_arrays_with_channels_first():
    arrays = [(np.full((3, 5, 6), row, dtype=np.float64), 0) for row in range(4)]
    assert next(StreamingLoader(arrays, 1, 4).epoch(1)).x.shape == (4, 3, 5, 6)


def test_progress_and_info():
    loader = StreamingLoader(Noisy(), 2, 5)
    assert next(loader.epoch(1, Progress(2, 3))).progress == Progress(2, 3)
    assert (loader.info.samples, loader.info.classes, loader.info.batch_size) == (12, 2, 5)
    assert loader.info.labels is None


def test_labels_of_a_data_set_with_targets():
    known = Noisy()
    known.targets = [row % 2 for row in range(12)]
    assert StreamingLoader(known, 2, 5).info.labels.tolist() == known.targets
    known.target_transform = lambda label: 1 - label
    assert StreamingLoader(known, 2, 5).info.labels is None
    del known.target_transform
    known.targets = ["a"] * 12
    assert StreamingLoader(known, 2, 5).info.labels is None
