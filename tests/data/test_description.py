"""Facts of data sets in memory and of streamed ones."""

from typing import Any

import pytest
import torch

from smskd import data
from smskd.config.data import SubsetConfig, ValidationConfig
from smskd.data import Dataset, Images, StreamedSamples, description
from smskd.data.description import describe, spread_rows
from smskd.data.equal_images import Shared
from smskd.errors import UserError

CLASSES = ("cat", "dog")


def images(count: int, seed: int, channels: int = 3) -> Images:
    pixels = torch.randint(0, 256, (count, channels, 4, 5), generator=torch.Generator().manual_seed(seed))
    return Images(pixels.to(torch.uint8), torch.arange(count) % 2, CLASSES)


def dataset(train: Any, test: Any) -> Dataset:
    return Dataset(name="own", train=train, test=test, mean=(0.5,) * 3, std=(0.25,) * 3)


def test_the_digits():
    digits = data.load("digits", subset=SubsetConfig(train=60), validation=ValidationConfig(count=20))
    found = describe(digits)
    assert list(found.parts) == ["train", "validation", "test"]
    assert [part.images for part in found.parts.values()] == [40, 20, 360]
    for name, split in (("train", digits.train), ("validation", digits.validation), ("test", digits.test)):
        part = found.parts[name]
        assert part.class_counts == tuple(int((split.labels == label).sum()) for label in range(10))
        assert (part.examined, part.counted, part.streamed) == (len(split), len(split), False)
        assert (part.sizes, part.channels, part.grayscale) == ({"8x8": len(split)}, {1: len(split)}, 0)
        assert part.memory == split.pixels.numel() + 8 * len(split)
    assert found.normalisation == (digits.mean, digits.std)
    assert found.measured == data.channel_statistics(digits.train)
    assert not any(found.duplicates.within.values())


def test_grayscale_and_blank_images():
    train = images(6, seed=1)
    train.pixels[1, 1:] = train.pixels[1, :1]
    train.pixels[2] = 7
    train.pixels[3] = torch.tensor([1, 2, 3])[:, None, None]
    part = describe(dataset(train, images(2, seed=2))).parts["train"]
    assert (part.grayscale, part.blank) == (2, 2)


def test_streamed_samples_have_the_facts_of_those_in_memory():
    train, test = images(9, seed=1), images(4, seed=2)
    train.pixels[4] = train.pixels[1]  # of another class
    test.pixels[0] = train.pixels[0]
    train.pixels[8] = 0
    streams = [StreamedSamples([*part], CLASSES) for part in (train, test)]
    loaded, streamed = describe(dataset(train, test)), describe(dataset(*streams))
    assert streamed.duplicates == loaded.duplicates
    assert loaded.duplicates.two_labels == 1
    assert loaded.duplicates.between == (Shared("train", "test", 1),)
    for name, part in loaded.parts.items():
        facts = vars(streamed.parts[name])
        assert {key: value for key, value in facts.items() if key != "streamed"} == {
            key: value for key, value in vars(part).items() if key != "streamed"
        }
        assert facts["streamed"]
    for one, other in zip(streamed.measured, loaded.measured, strict=True):
        assert one == pytest.approx(other)


class Reads(list):
    """Samples that remember which were read."""

    def __init__(self, samples: Any) -> None:
        super().__init__(samples)
        self.read: list[int] = []

    def __getitem__(self, row: Any) -> Any:
        self.read.append(row)
        return super().__getitem__(row)


def test_of_many_streamed_samples_an_even_part_is_read(monkeypatch):
    monkeypatch.setattr(description, "EXAMINED", 5)
    samples = Reads([*images(20, seed=1)])
    part = describe(dataset(StreamedSamples(samples, CLASSES), images(2, seed=2))).parts["train"]
    assert sorted(set(samples.read)) == [0, 4, 8, 12, 16]
    assert (part.images, part.examined, part.counted) == (20, 5, 5)
    assert part.class_counts == (5, 0)  # all that were read are even
    assert part.memory == 20 * (3 * 4 * 5 + 8)
    assert spread_rows(3, 5) == [0, 1, 2]
    assert spread_rows(7, 3) == [0, 2, 4]


def test_labels_that_are_listed_are_counted_in_full(monkeypatch):
    monkeypatch.setattr(description, "EXAMINED", 5)
    train = images(20, seed=1)
    part = describe(dataset(StreamedSamples(train, CLASSES), images(2, seed=2))).parts["train"]
    assert (part.examined, part.counted, part.class_counts) == (5, 20, (10, 10))


def test_random_transforms_hide_no_duplicates_and_leave_the_random_state():
    class Noisy(list):
        def __getitem__(self, row: Any) -> Any:
            image, label = super().__getitem__(row)
            return image.float() / 255 + torch.rand(1), label

    train = images(4, seed=1)
    train.pixels[2] = train.pixels[0]
    state = torch.get_rng_state()
    found = describe(
        dataset(StreamedSamples(Noisy(train), CLASSES), StreamedSamples(Noisy(images(2, seed=2)), CLASSES))
    )
    assert found.duplicates.within == {"train": 1, "test": 0}
    assert torch.equal(torch.get_rng_state(), state)


def test_a_sample_that_cannot_be_read_is_named():
    broken = [*images(3, seed=1), ("no image", 0)]
    with pytest.raises(UserError, match=r"^training sample 3: the image is a str"):
        describe(dataset(StreamedSamples(broken, CLASSES), images(2, seed=2)))
