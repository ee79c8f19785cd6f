"""Mean, standard deviation and classes are those of the whole data, whatever part is used."""

import numpy as np
import pytest
import torch
from PIL import Image

from smskd import data
from smskd.config.data import SubsetConfig, ValidationConfig
from smskd.data import statistics
from smskd.data.images import numbered_classes
from smskd.data.statistics import statistics_rows, whole_statistics
from smskd.errors import UserError
from tests.support.parquet_files import write

LABELS = list(range(20)) * 5
SUBSETS = [
    SubsetConfig(),
    SubsetConfig(train=10, seed=1),
    SubsetConfig(train=5, seed=1),
    SubsetConfig(train=3, test=3, seed=4),
    SubsetConfig(train=2, test=2, seed=3),
]


def constant(label):
    return np.full((8, 8, 3), 10 * label, np.uint8)


def write_parquet(root):
    for part in ("train", "test"):
        write(root / f"{part}.parquet", [constant(label) for label in LABELS], LABELS)


def write_folder(root):
    for part in ("train", "test"):
        for place, label in enumerate(LABELS):
            folder = root / part / f"{label:02}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(constant(label)).save(folder / f"{place}.png")


@pytest.mark.parametrize(("source", "written"), [("parquet", write_parquet), ("image_folder", write_folder)])
def test_a_limit_changes_neither_classes_nor_normalisation(tmp_path, source, written):
    written(tmp_path)
    values = np.array([10 * label / 255 for label in LABELS])
    for subset in SUBSETS:
        found = data.load(source, root=tmp_path, subset=subset, validation=ValidationConfig(count=1))
        assert (found.classes, found.train.classes, found.test.classes, found.validation.classes) == (20,) * 4
        assert found.mean == pytest.approx((values.mean(),) * 3, abs=1e-12)
        assert found.std == pytest.approx((values.std(),) * 3, abs=1e-12)


def test_the_size_is_that_of_the_first_image_of_all(tmp_path):
    sizes = [(4, 4), *[(8, 8)] * 9]
    for part in ("train", "test"):
        write(tmp_path / f"{part}.parquet", [np.zeros((*size, 3), np.uint8) for size in sizes], [0] * 10)
    for subset in SUBSETS:
        with pytest.raises(UserError, match="the image is 8x8, the first training image 4x4"):
            data.load("parquet", root=tmp_path, subset=subset)


def test_a_large_part_is_represented_by_a_fixed_choice(monkeypatch):
    monkeypatch.setattr(statistics, "SAMPLE", 100)
    labels = torch.arange(1000) % 4
    pixels = torch.randint(0, 256, (1000, 2, 3, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    rows = statistics_rows(labels, 4)
    assert torch.bincount(labels[rows]).tolist() == [25] * 4
    assert rows.sum() == 48990  # the choice never changes
    mean, std = whole_statistics(labels, 4, lambda rows: pixels[rows])
    chosen = pixels[rows].double() / 255
    assert mean == pytest.approx(chosen.mean((0, 2, 3)).tolist(), abs=1e-12)
    assert std == pytest.approx(chosen.std((0, 2, 3), correction=0).tolist(), abs=1e-12)


@pytest.mark.parametrize("label", [2**16, 10**8, 10**12, 2**62])
def test_labels_that_number_no_classes(label):
    with pytest.raises(UserError, match=rf"^row 1 has label {label}, which makes {label + 1} classes for 3 images"):
        numbered_classes(torch.tensor([0, label, 1]))
    assert len(numbered_classes(torch.tensor([0, 999]))) == 1000
