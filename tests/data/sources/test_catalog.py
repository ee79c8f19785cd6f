import subprocess
import sys

import pytest

from smskd import data
from smskd.errors import UserError


def test_names_need_no_torch():
    code = "import sys, smskd.data as d; print(d.names()); assert not {'torch', 'numpy'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "('digits', 'cifar10', 'cifar100', 'parquet')"


def test_everything_public_is_there():
    for name in data.__all__:
        assert getattr(data, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = data.nothing


def test_limits_are_reproducible_random_parts():
    whole = data.load("digits")
    part = data.load("digits", train_limit=100, test_limit=50, seed=2)
    assert part.train.fingerprint() == whole.train.subset(100, 2).fingerprint()
    assert part.test.fingerprint() == whole.test.subset(50, 2).fingerprint()


def test_mean_and_std_can_be_given():
    dataset = data.load("digits", mean=[0.5], std=[0.25])
    assert (dataset.mean, dataset.std) == ((0.5,), (0.25,))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cifar", {}, r"^no data set is called 'cifar'; did you mean 'cifar10'\?$"),
        ("mnist", {}, "^no data set is called 'mnist'; choose from cifar10, cifar100, digits, parquet$"),
        ("parquet", {}, "^parquet needs root"),
        ("digits", {"image_size": [8, 8]}, "^image_size is an option of parquet; digits has no use for it"),
        ("cifar10", {"label_column": "label"}, "^label_column is an option of parquet"),
        ("parquet", {"image_size": [32], "root": "."}, r"^image_size is \[32\]"),
        ("parquet", {"image_size": [0, 32], "root": "."}, r"^image_size is \[0, 32\]"),
        ("digits", {"train_limit": 0}, "^a part of 0 pictures"),
        ("digits", {"mean": [0.5, 0.5], "std": [1, 1]}, r"1 channel\(s\), but mean and std have 2"),
    ],
)
def test_mistakes(name, options, message):
    with pytest.raises(UserError, match=message):
        data.load(name, **options)
