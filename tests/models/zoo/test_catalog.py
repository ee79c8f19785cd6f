"""The catalog of the zoo."""

import subprocess
import sys

import pytest

from smskd.models import names
from smskd.models.zoo.catalog import CATALOG, factory
from smskd.models.zoo.resnet import ResNet


def test_the_list_of_names_agrees_with_the_catalog() -> None:
    assert names() == tuple(CATALOG)


def test_every_entry_has_one_line_of_description() -> None:
    for entry in CATALOG.values():
        assert entry.description
        assert "\n" not in entry.description


def test_the_names_are_listed_without_torch() -> None:
    code = "import sys; from smskd.models import names; assert names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_factory_by_name() -> None:
    model = factory("resnet8_w2")(classes=7, channels=1)
    assert isinstance(model, ResNet)
    assert model.fc.out_features == 7
    assert model.conv1.in_channels == 1
    with pytest.raises(KeyError, match="resnet9"):
        factory("resnet9")
