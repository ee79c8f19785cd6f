from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
from torchvision import datasets

from smskd import data
from smskd.config.data import SubsetConfig
from smskd.errors import UserError


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_missing_files(name, tmp_path):
    with pytest.raises(UserError, match=f"^{name}: no complete files in .*set download: true") as caught:
        data.load(name, root=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [URLError("no route"), RuntimeError("File not found\nor corrupted."), TimeoutError("no route")]
)
def test_no_network(error, tmp_path, monkeypatch):
    def unreachable(**_):
        raise error

    monkeypatch.setattr(datasets, "CIFAR10", unreachable)
    with pytest.raises(UserError, match=r"^cifar10 could not be fetched to .*(no route|or corrupted)") as caught:
        data.load("cifar10", root=tmp_path, download=True)
    assert "\n" not in str(caught.value)


def test_what_torchvision_reads_is_taken_over(tmp_path, monkeypatch):
    asked = []

    def reader(**options):
        asked.append(options)
        n = 6 if options["train"] else 4
        pixels = np.random.default_rng(n).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
        return SimpleNamespace(
            data=pixels, targets=[row % 100 for row in range(n)], classes=[str(i) for i in range(100)]
        )

    monkeypatch.setattr(datasets, "CIFAR100", reader)
    dataset = data.load("cifar100", root=tmp_path, download=True, subset=SubsetConfig(train=5))
    root = str(tmp_path)
    assert asked == [{"root": root, "train": part, "download": True} for part in (True, False)]
    assert (len(dataset.train), len(dataset.test), dataset.classes, dataset.name) == (5, 4, 100, "cifar100")
    assert dataset.test.pixels.permute(0, 2, 3, 1).numpy().tolist() == reader(train=False).data.tolist()
    assert dataset.test.labels.tolist() == [0, 1, 2, 3]
    assert (dataset.mean, dataset.std) == ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))
    assert dataset.augmentation().variants == 162
