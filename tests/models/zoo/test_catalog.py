"""Models by name: of the catalog, and of one's own."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from smskd.errors import UserError
from smskd.models import create, names
from smskd.models.hooks import HookedModel
from smskd.models.zoo.catalog import CATALOG
from smskd.models.zoo.resnet import ResNet


def tiny(classes: int = 10, width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(width * 36, classes))


def ten_classes() -> nn.Module:
    return tiny()


def no_model() -> int:
    return 3


not_callable = 3


def test_the_list_of_names_agrees_with_the_catalog() -> None:
    assert names() == tuple(CATALOG)


def test_every_entry_has_one_line_of_description() -> None:
    for entry in CATALOG.values():
        assert entry.description
        assert "\n" not in entry.description


def test_names_do_not_need_torch() -> None:
    code = "import sys; from smskd.models import names; assert names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_package_exports_what_it_says() -> None:
    import smskd.models

    for name in smskd.models.__all__:
        assert callable(getattr(smskd.models, name))
    with pytest.raises(AttributeError, match="nonsense"):
        smskd.models.nonsense  # noqa: B018


def test_classes_and_channels() -> None:
    model = create("resnet8_w2", classes=7, channels=1)
    assert isinstance(model, ResNet)
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 7)


def test_an_unknown_name() -> None:
    with pytest.raises(UserError, match="there is no model 'resnet9'; did you mean 'resnet8'"):
        create("resnet9")


def test_an_option_of_a_catalog_model() -> None:
    with pytest.raises(UserError, match="model 'resnet8' takes no option 'width'"):
        create("resnet8", width=3)


def test_the_features_of_a_catalog_model_are_its_own() -> None:
    with pytest.raises(UserError, match="model 'resnet8' has features of its own"):
        create("resnet8", features={"map": "layer1"})


def test_a_model_of_ones_own_is_told_what_its_signature_names() -> None:
    model = create(f"{__name__}:tiny", classes=5, image_size=(8, 8), width=6)
    assert isinstance(model, HookedModel)
    assert isinstance(model.wrapped, nn.Sequential)
    assert model(torch.zeros(2, 3, 8, 8)).shape == (2, 5)
    assert model.wrapped[0].weight.shape[0] == 6


def test_where_to_read_the_features_of_a_model_of_ones_own() -> None:
    model = create(f"{__name__}:tiny", classes=5, image_size=(8, 8), features={"mine": "1"})
    assert model.feature_names == ("mine", "pooled")


def test_a_zoo_class_with_other_widths() -> None:
    model = create("smskd.models.zoo.resnet:ResNet", classes=5, channels=1, depth=8, stem=3, widths=(3, 5, 7))
    assert isinstance(model, ResNet)
    assert model.fc.weight.shape == (5, 7)


def test_a_factory_of_torchvision() -> None:
    model = create("torchvision.models:resnet18", classes=4, num_classes=4)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 4)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("smskd.no_such:model", {}, "smskd.no_such cannot be imported"),
        (f"{__name__}:tine", {}, "did you mean 'tiny'"),
        (f"{__name__}:not_callable", {}, "has no callable not_callable"),
        (f"{__name__}:", {}, "write package.module:factory"),
        (f"{__name__}:tiny", {"widht": 3}, "cannot be made with .*unexpected keyword argument 'widht'"),
        (f"{__name__}:no_model", {}, "gives a int, not a torch.nn.Module"),
        (f"{__name__}:ten_classes", {}, "gives 10 classes, not 5"),
        (f"{__name__}:tiny", {"image_size": (16, 16)}, "does not accept images of 3x16x16"),
    ],
)
def test_what_is_wrong_with_a_model_of_ones_own(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        create(name, **{"classes": 5, "image_size": (8, 8)} | options)
    assert "\n" not in str(caught.value)
