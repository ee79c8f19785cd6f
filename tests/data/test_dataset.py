import pytest
import torch

from smskd.data.dataset import Dataset
from smskd.data.images import Images
from smskd.data.statistics import channel_statistics
from smskd.errors import UserError

NAMES = ("cat", "dog", "owl")


def images(n=30, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, channels, 5, 4), dtype=torch.uint8, generator=generator)
    return Images(pixels, torch.arange(n) % 3, NAMES)


def test_facts():
    some = images()
    assert (len(some), some.classes, some.shape) == (30, 3, (3, 5, 4))
    image, label = some[4]
    assert torch.equal(image, some.pixels[4])
    assert label == 1


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (torch.zeros(2, 3, 4, 4), torch.tensor([0, 1]), r"float32 \[2, 3, 4, 4\]; they have to be uint8"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]), r"uint8 \[2, 4, 4\]"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0.0, 1]), "labels are float32"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0]), "2 images but 1 labels"),
        (torch.zeros(3, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 3, 9]), "row 1 has label 3; .* 0 to 2"),
        (torch.zeros(3, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 2, -1]), "row 2 has label -1"),
    ],
)
def test_mistakes(pixels, labels, message):
    with pytest.raises(UserError, match=message):
        Images(pixels, labels, NAMES)


def test_fingerprint_is_of_content_only():
    some = images()
    channels_last = Images(some.pixels.contiguous(memory_format=torch.channels_last), some.labels.clone(), NAMES)
    assert some.fingerprint() == channels_last.fingerprint() == images().fingerprint()
    assert len(some.fingerprint()) == 64
    changed = [images(seed=1), images(29), Images(some.pixels, some.labels, (*NAMES, "fox"))]
    changed.append(Images(some.pixels.view(30, 3, 4, 5), some.labels, NAMES))
    changed.append(Images(some.pixels, some.labels.flip(0), NAMES))
    assert len({some.fingerprint(), *(other.fingerprint() for other in changed)}) == 6


def test_subset():
    some = images()
    ten, twenty = some.subset(10, seed=3), some.subset(20, seed=3)
    assert torch.equal(ten.pixels, twenty.pixels[:10])
    assert torch.equal(ten.labels, twenty.labels[:10])
    assert not torch.equal(ten.pixels, some.pixels[:10])
    assert ten.fingerprint() == some.subset(10, seed=3).fingerprint() != some.subset(10, seed=4).fingerprint()
    assert some.subset(30) is some.subset(1000) is some
    with pytest.raises(UserError, match="a subset of 0 images"):
        some.subset(0)


def test_channel_statistics():
    some = images()
    mean, std = channel_statistics(some)
    values = some.pixels.double() / 255
    assert mean == pytest.approx(values.mean((0, 2, 3)).tolist(), abs=1e-12)
    assert std == pytest.approx(values.std((0, 2, 3), correction=0).tolist(), abs=1e-12)
    assert channel_statistics(Images(torch.zeros_like(some.pixels), some.labels, NAMES))[1] == (1, 1, 1)


def dataset(**changes):
    given = {
        "name": "mine",
        "train": images(),
        "test": images(6, seed=1),
        "mean": (0.5,) * 3,
        "std": (0.2,) * 3,
    }
    return Dataset(**{**given, **changes})


def test_dataset():
    mine = dataset(padding=2, flip=False)
    assert (mine.classes, mine.class_names, mine.shape) == (3, NAMES, (3, 5, 4))
    assert mine.augmentation().variants == 25
    assert mine.normalisation().variants == 1
    assert mine.fingerprint() == dataset().fingerprint() != dataset(mean=(0.4,) * 3).fingerprint()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": images(6, channels=1)}, "5x4 with 3 channels, test images 5x4 with 1 channel;"),
        ({"mean": (0.5,), "std": (0.5,)}, "3 channel"),
        ({"std": (0.2, 0, 0.2)}, "above 0"),
    ],
)
def test_dataset_mistakes(changes, message):
    with pytest.raises(UserError, match=message):
        dataset(**changes)
