import random

import numpy as np
import pytest
import torch
from torch.utils.data import Subset

from smskd.data import Images, StreamedSamples, StreamingLoader
from smskd.data.samples import known_labels, read_labels, samples_fingerprint
from smskd.errors import UserError

NAMES = ("a", "b", "c")


def pairs(n=9, scale=1):
    return [(torch.full((1, 2, 2), row * scale, dtype=torch.uint8), row % 3) for row in range(n)]


class Rows:
    def __init__(self, rows, **members):
        self.rows = rows
        vars(self).update(members)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, row):
        return self.rows[row]


class OtherRows(Rows):
    pass


class Noisy(Rows):
    def __getitem__(self, row):
        noise = random.random() + np.random.rand() + float(torch.rand(()))
        return torch.full((1, 2, 2), noise), 0


def test_a_part_of_a_data_set():
    samples = StreamedSamples(Rows(pairs()), NAMES)
    part = samples.take(torch.tensor([8, 3, 0, 4])).take(torch.tensor([1, 3]))
    assert (len(samples), len(part), part.classes, part.shape) == (9, 2, 3, (1, 2, 2))
    assert [int(image[0, 0, 0]) for image, _ in (part[0], part[1])] == [3, 4]
    assert samples.subset(9) is samples
    rows = torch.randperm(9, generator=torch.Generator().manual_seed(4))[:5]
    assert torch.equal(samples.subset(5, seed=4).indices, rows)


def test_other_class_names():
    listed = Rows(pairs(), targets=[row % 3 for row in range(9)])
    samples = StreamedSamples(listed, NAMES).take(torch.arange(1, 9)).with_classes(("c", "x", "b", "a"))
    assert [samples[row][1] for row in range(3)] == [2, 0, 3]
    assert samples.known_labels().tolist() == [2, 0, 3, 2, 0, 3, 2, 0]
    back = samples.with_classes(("a", "b", "c", "x"))
    assert [back[row][1] for row in range(3)] == [1, 2, 0]
    with pytest.raises(UserError, match=r"^class 'x' is not among the 3 classes"):
        samples.with_classes(NAMES)


def test_images_have_the_same_members():
    images = Images(torch.stack([image for image, _ in pairs()]), torch.arange(9) % 3, NAMES)
    part = images.take(torch.tensor([3, 4])).with_classes(("c", "b", "a"))
    assert part.labels.tolist() == part.known_labels().tolist() == [2, 1]
    assert part.pixels[:, 0, 0, 0].tolist() == [3, 4]
    assert images.take(torch.tensor([3, 4])).with_classes(NAMES).labels.tolist() == [0, 1]


def test_labels_that_a_data_set_lists():
    labels = [row % 3 for row in range(9)]
    for listed in ({"targets": labels}, {"labels": np.array(labels)}, {"targets": torch.tensor(labels)}):
        assert known_labels(Rows(pairs(), **listed)).tolist() == labels
        assert known_labels(Subset(Rows(pairs(), **listed), [4, 3])).tolist() == [1, 0]
    for unknown in (
        {},
        {"targets": labels[1:]},
        {"targets": ["a"] * 9},
        {"targets": [0.0] * 9},
        {"targets": [-1] * 9},
        {"targets": labels, "target_transform": lambda label: label},
    ):
        assert known_labels(Rows(pairs(), **unknown)) is None
        assert known_labels(Subset(Rows(pairs(), **unknown), [4, 3])) is None
        assert read_labels(Rows(pairs(), **unknown)).tolist() == labels


def test_fingerprint():
    rows = Rows(pairs())
    listed = Rows(pairs(), targets=[row % 3 for row in range(9)])
    different = [
        (rows, 3),
        (rows, 4),
        (listed, 3),
        (Rows(pairs(), targets=[0] * 9), 3),
        (OtherRows(pairs()), 3),
        (Rows(pairs(8)), 3),
        (Rows(pairs(scale=2)), 3),
        (Rows([*pairs(8), pairs(8)[0]]), 3),
    ]
    assert len({samples_fingerprint(*arguments) for arguments in different}) == len(different)
    assert samples_fingerprint(Rows(pairs()), 3) == samples_fingerprint(rows, 3)
    assert StreamedSamples(rows, NAMES).fingerprint() == StreamingLoader(rows, 3, 4).fingerprint
    assert StreamedSamples(rows, NAMES).take(torch.arange(8)).fingerprint() == samples_fingerprint(Rows(pairs(8)), 3)


def test_random_transforms_have_a_fingerprint_and_leave_no_trace():
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    one = samples_fingerprint(Noisy(pairs()), 3)
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    random.random()
    assert samples_fingerprint(Noisy(pairs()), 3) == one
    read_labels(Noisy(pairs()))
    assert torch.equal(torch.get_rng_state(), before[2])


def test_mistakes():
    with pytest.raises(UserError, match=r"^sample 0: the image is a str"):
        samples_fingerprint([("cat.png", 0)], 1)
    with pytest.raises(UserError, match=r"^sample 1 is a str; it has to be a pair"):
        read_labels([*pairs(1), "ab"])
