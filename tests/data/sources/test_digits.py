import gzip
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from sklearn.datasets import load_digits

from smskd.data.sources import digits as source
from smskd.data.sources.digits import digits


@pytest.fixture(scope="module")
def dataset():
    return digits()


def test_split(dataset):
    assert (len(dataset.train), len(dataset.test)) == (1437, 360)
    assert dataset.class_names == tuple("0123456789")
    assert dataset.shape == (1, 8, 8)
    everything = torch.bincount(torch.from_numpy(load_digits().target))
    share = torch.bincount(dataset.test.labels) / everything
    assert ((share - 360 / 1797).abs() * everything).max() < 1


def test_the_split_never_changes(dataset):
    assert dataset.train.fingerprint().startswith("f664bda911f09a61")
    assert dataset.test.fingerprint().startswith("0c7d53afcbb1f7e9")


@pytest.mark.parametrize("count", [1, 100, 1796])
def test_another_number_of_test_images(count):
    dataset = digits(test_samples=count)
    assert (len(dataset.train), len(dataset.test)) == (1797 - count, count)
    everything = torch.bincount(torch.from_numpy(load_digits().target))
    share = torch.bincount(dataset.test.labels, minlength=10) / everything
    assert ((share - count / 1797).abs() * everything).max() < 1


def test_every_digit_is_in_one_part_with_its_values(dataset):
    pixels = torch.cat([dataset.train.pixels, dataset.test.pixels])
    labels = torch.cat([dataset.train.labels, dataset.test.labels])
    rows = torch.cat([pixels.flatten(1).double() * 16 / 255, labels[:, None].double()], dim=1).round()
    loaded = load_digits()
    expected = torch.cat([torch.from_numpy(loaded.data), torch.from_numpy(loaded.target)[:, None]], dim=1)
    assert sorted(rows.tolist()) == sorted(expected.tolist())
    assert (pixels.min(), pixels.max()) == (0, 255)


@pytest.mark.parametrize(
    "content",
    [None, b"", b"no gzip", gzip.compress(b"pixel,digit\n1,2\n"), gzip.compress(b"1,2")],
    ids=["missing", "empty", "not compressed", "with a header", "of another shape"],
)
def test_another_scikit_learn_has_the_same_digits(content, dataset, monkeypatch, tmp_path):
    """One without the file, or with another one."""
    if content is not None:
        (tmp_path / "datasets" / "data").mkdir(parents=True)
        (tmp_path / "datasets" / "data" / "digits.csv.gz").write_bytes(content)
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(source, "find_spec", lambda name: found)
    other = digits()
    assert other.train.fingerprint() == dataset.train.fingerprint()
    assert other.test.fingerprint() == dataset.test.fingerprint()


def test_scikit_learn_is_not_imported():
    program = "import sys; from smskd.data.sources.digits import digits; digits(); print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_augmentation_is_gentle(dataset):
    assert (dataset.padding, dataset.flip) == (1, False)
    x = dataset.normalisation().apply(dataset.train.pixels)
    assert abs(float(x.mean())) < 1e-5
    assert float(x.std()) == pytest.approx(1, abs=1e-4)
