from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from smskd import data
from smskd.config.base import ComponentConfig
from smskd.config.data import SubsetConfig, ValidationConfig
from smskd.data import Images, StreamedSamples, split_samples
from smskd.data.samples import read_labels
from smskd.errors import UserError

HERE = "tests.data.test_validation"
COUNTS = (30, 12, 7, 1)


def images():
    labels = torch.repeat_interleave(torch.arange(4), torch.tensor(COUNTS))
    labels = labels[torch.randperm(50, generator=torch.Generator().manual_seed(0))]
    return Images(torch.arange(50).view(50, 1, 1, 1).expand(50, 1, 2, 2).to(torch.uint8), labels, tuple("abcd"))


def rows(split):
    return [int(image[0, 0, 0]) for image, _ in (split[row] for row in range(len(split)))]


class Listed:
    """A map-style data set that lists its labels and counts how often a sample is read."""

    def __init__(self):
        self.targets = images().labels.tolist()
        self.reads = 0

    def __len__(self):
        return 50

    def __getitem__(self, row):
        self.reads += 1
        return images()[row]


def other_names(names: str = "ba"):
    images = Images(torch.full((4, 1, 8, 8), 9, dtype=torch.uint8), torch.tensor([0, 1, 1, 0]), tuple(names))
    return data.Dataset(name="other", train=images, test=images, mean=(0.5,), std=(0.5,))


@pytest.mark.parametrize(
    ("config", "quotas"),
    [
        # The exact shares are 6, 2.4, 1.4, 0.2 and 4.2, 1.68, 0.98, 0.14.
        (ValidationConfig(fraction=0.2), [6, 3, 1, 0]),
        (ValidationConfig(count=7), [4, 2, 1, 0]),
        (ValidationConfig(fraction=0.001), [1, 0, 0, 0]),
    ],
)
def test_each_class_gives_its_share(config, quotas):
    train, validation = split_samples(images(), config, 4)
    assert torch.bincount(validation.labels, minlength=4).tolist() == quotas
    assert sorted(rows(train) + rows(validation)) == list(range(50))
    assert rows(train) == sorted(rows(train))  # both in the order of the data
    assert rows(validation) == sorted(rows(validation))
    for part in (train, validation):
        assert torch.equal(part.labels, images().labels[rows(part)])


def test_the_split_follows_from_the_seed_and_never_changes():
    splits = {seed: rows(split_samples(images(), ValidationConfig(count=7, seed=seed), 4)[1]) for seed in (0, 1, 2**40)}
    # By the definition in integer arithmetic: the lowest hashes of (salt, seed, row) in each class.
    for seed, split in splits.items():
        expected = []
        for label, quota in enumerate([4, 2, 1, 0]):
            own = (images().labels == label).nonzero()[:, 0].tolist()
            expected += sorted(own, key=lambda row: data.mix(0x76616C6964, seed, row))[:quota]
        assert split == sorted(expected)
    assert len({tuple(split) for split in splits.values()}) == 3


def test_map_style_data_sets_are_split_likewise():
    config, source = ValidationConfig(fraction=0.2, seed=3), Listed()
    expected = split_samples(images(), config, 4)
    listed = split_samples(source, config, 4)
    assert source.reads == 0
    unlisted = split_samples([images()[row] for row in range(50)], config, 4)
    for streamed in (listed, unlisted):
        for one, other in zip(streamed, expected, strict=True):
            assert isinstance(one, StreamedSamples)
            assert (rows(one), one.class_names) == (rows(other), tuple("0123"))
            assert torch.equal(read_labels(one), other.labels)
    again = split_samples(listed[0], ValidationConfig(count=5), 4)
    assert sorted(rows(again[0]) + rows(again[1])) == rows(listed[0])


def test_progress_is_shown_where_labels_are_read():
    calls = []
    samples = [images()[row] for row in range(50)]
    split_samples(samples, ValidationConfig(count=5), 4, lambda items, total: calls.append(total) or items)
    assert calls == [50]


def test_validation_images_come_out_of_the_subset_of_the_training_images():
    whole = data.load("digits", subset=SubsetConfig(train=100, test=50, seed=2))
    config = ValidationConfig(fraction=0.2, seed=1)
    dataset = data.load("digits", subset=SubsetConfig(train=100, test=50, seed=2), validation=config)
    train, validation = split_samples(whole.train, config, 10)
    assert dataset.fingerprints() == {
        "train": train.fingerprint(),
        "test": whole.test.fingerprint(),
        "validation": validation.fingerprint(),
    }
    assert len(validation) == 20
    assert (dataset.mean, dataset.std) == (whole.mean, whole.std)


def test_images_of_another_source(tmp_path):
    for part in ("train", "test"):
        for name in ("7", "3"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(2):
                pixels = np.full((8, 8), 10 * int(name) + number, dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / name / f"{number}.png")
    source = ComponentConfig("image_folder", {"root": tmp_path, "channels": 1})
    dataset = data.load("digits", validation=ValidationConfig(source=source))
    assert len(dataset.train) == 1437
    assert dataset.validation.class_names == dataset.class_names
    assert dataset.validation.labels.tolist() == [3, 3, 7, 7]
    assert dataset.validation.pixels[:, 0, 0, 0].tolist() == [30, 31, 70, 71]
    train, validation = split_samples(dataset.train, ValidationConfig(source=source), 10)
    assert train is dataset.train
    assert validation.fingerprint() == dataset.validation.fingerprint()


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ({"source": "digits"}, "^validation: these are test images, at least in part"),
        ({"source": {"name": "digits", "test_samples": 360}}, "^validation: these are test images"),
        ({"source": f"{HERE}:other_names"}, "^validation.source: class 'b' and 1 more is not among the 10 classes"),
        (
            {"source": {"name": f"{HERE}:other_names", "naems": "01"}},
            r"^validation.source.naems: unknown option of .*; did you mean 'names'\?$",
        ),
        ({"source": "digit"}, r"^validation.source: unknown data source 'digit'; did you mean 'digits'\?$"),
        ({"count": 1437}, "^validation: 1437 of 1437 training images were requested; leave some to train on$"),
        ({"fraction": 0.9999}, "^validation: 1437 of 1437 training images"),
    ],
)
def test_mistakes(validation, message):
    with pytest.raises(UserError, match=message):
        data.load("digits", validation=ValidationConfig(**validation))


def test_a_label_out_of_range():
    samples = Listed()
    samples.targets[4] = 4
    with pytest.raises(UserError, match=r"^row 4 has label 4; with 4 classes labels are 0 to 3$"):
        split_samples(samples, ValidationConfig(count=5), 4)


def test_validation_images_have_to_fit_the_training_images():
    dataset = data.load("digits")
    smaller = Images(dataset.train.pixels[:, :, :4], dataset.train.labels, dataset.class_names)
    with pytest.raises(UserError, match="training images are 8x8 with 1 channel, validation images 4x8 with 1 channel"):
        replace(dataset, validation=smaller)
    fewer = Images(dataset.train.pixels[:1], torch.tensor([0]), ("0",))
    assert replace(dataset, validation=fewer).validation.class_names == dataset.class_names
    with pytest.raises(
        UserError, match=r"^digits: validation images: class 'zero' is not among the 10 classes of the tra"
    ):
        replace(dataset, validation=Images(fewer.pixels, fewer.labels, ("zero",)))
