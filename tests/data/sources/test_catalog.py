import subprocess
import sys

import pytest
import torch

from smskd import data
from smskd.config.base import ComponentConfig
from smskd.config.data import DataConfig, SubsetConfig, ValidationConfig
from smskd.errors import UserError
from smskd.registry import DATA


def test_names_need_no_torch():
    code = (
        "import sys, smskd.data as d; print(*d.names()); assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "digits",
        "cifar10",
        "cifar100",
        "parquet",
        "image_folder",
        "tiny_imagenet",
        "imagenet",
        "hf",
        "webdataset",
        "text",
    ]


def test_every_name_is_found():
    assert set(data.names()) <= set(DATA.names())
    assert {DATA.find(name).__name__ for name in data.names()} == set(data.names())


def test_everything_public_is_there():
    for name in data.__all__:
        assert getattr(data, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = data.nothing


def test_a_subset_is_a_reproducible_random_part():
    whole = data.load("digits")
    part = data.load("digits", subset=SubsetConfig(train=100, test=50, seed=2))
    assert part.train.fingerprint() == whole.train.subset(100, 2).fingerprint()
    assert part.test.fingerprint() == whole.test.subset(50, 2).fingerprint()
    assert (part.mean, part.std) == (whole.mean, whole.std)


def test_settings_and_arguments_give_the_same_data():
    subset, validation = SubsetConfig(train=200), ValidationConfig(count=30)
    config = DataConfig(ComponentConfig("digits", {"test_samples": 100}), subset, validation)
    one = data.load(config)
    other = data.load("digits", test_samples=100, subset=subset, validation=validation)
    assert one.fingerprints() == other.fingerprints()
    assert (len(one.train), len(one.validation), len(one.test)) == (170, 30, 100)
    with pytest.raises(UserError, match=r"^a DataConfig holds subset, validation and the options of the source"):
        data.load(config, subset=subset)


def test_nothing_global_is_changed():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    data.load("digits", subset=SubsetConfig(train=20), validation=ValidationConfig(fraction=0.5))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cifar", {}, r"^data.source: unknown data source 'cifar'; did you mean 'cifar10'\?$"),
        (
            "mnist",
            {},
            "^data.source: unknown data source 'mnist'; choose from cifar10, cifar100, digits, hf, image_fol",
        ),
        ("nowhere.at.all:read", {}, "^data.source: data source 'nowhere.at.all:read': cannot import 'nowhere.at.all'"),
        ("parquet", {}, "^data.source.root: parquet needs this option$"),
        ("cifar10", {"roots": "x"}, r"^data.source.roots: unknown option of cifar10; did you mean 'root'\?$"),
        ("cifar10", {"track": 1}, "^data.source.track: unknown option of cifar10; choose from download, root$"),
        ("digits", {"image_size": [8, 8]}, "^data.source.image_size: unknown option of digits; choose from test_sa"),
        ("cifar10", {"download": "maybe"}, "^data.source.download: must be true or false, not 'maybe'$"),
        ("parquet", {"root": ".", "image_size": [32]}, "^data.source.image_size.1: this entry is needed$"),
        ("parquet", {"root": ".", "image_size": [0, 32]}, "^data.source.image_size.0: must be greater than 0, not 0$"),
        ("image_folder", {"root": ".", "channels": 4}, "^data.source.channels: must be 1 or 3, not 4$"),
        ("digits", {"test_samples": 1797}, "^test_samples must be from 1 to 1796, not 1797$"),
    ],
)
def test_mistakes(name, options, message):
    with pytest.raises(UserError, match=message) as caught:
        data.load(DataConfig(ComponentConfig(name, options)))
    assert "\n" not in str(caught.value)
