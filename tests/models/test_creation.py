"""Models by name: of the zoo, of an entry point, by the path of a factory."""

from importlib.metadata import EntryPoint
from typing import Any

import pytest
import torch
from torch import nn

from smskd.errors import UserError
from smskd.models import create
from smskd.models.hooks import HookedModel
from smskd.models.zoo.resnet import ResNet


def tiny(classes: int = 10, width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(width * 36, classes))


def ten_classes() -> nn.Module:
    return tiny()


def no_model() -> int:
    return 3


not_callable = 3


def test_the_exports_of_the_package() -> None:
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
    with pytest.raises(UserError, match="unknown model 'resnet9'; did you mean 'resnet8'"):
        create("resnet9")


def test_an_option_of_a_model_of_the_zoo() -> None:
    with pytest.raises(UserError, match="model 'resnet8' has no option 'width'"):
        create("resnet8", width=3)


def test_the_features_of_a_model_of_the_zoo_are_its_own() -> None:
    with pytest.raises(UserError, match="model 'resnet8' is of the zoo and has features of its own"):
        create("resnet8", features={"map": "layer1"})


def test_a_factory_receives_the_arguments_that_its_signature_names() -> None:
    model = create(f"{__name__}:tiny", classes=5, image_size=(8, 8), width=6)
    assert isinstance(model, HookedModel)
    assert isinstance(model.wrapped, nn.Sequential)
    assert model(torch.zeros(2, 3, 8, 8)).shape == (2, 5)
    assert model.wrapped[0].weight.shape[0] == 6


def test_a_mapping_of_features() -> None:
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
        ("smskd.no_such:model", {}, "cannot import 'smskd.no_such'"),
        (f"{__name__}:tine", {}, "did you mean 'tiny'"),
        (f"{__name__}:not_callable", {}, "not_callable' is not callable"),
        (f"{__name__}:", {}, "write package.module:Name"),
        (f"{__name__}:tiny", {"widht": 3}, "cannot be made with .*unexpected keyword argument 'widht'"),
        (f"{__name__}:no_model", {}, "returns a int, not a torch.nn.Module"),
        (f"{__name__}:ten_classes", {}, "has 10 output classes, the data 5"),
        (f"{__name__}:tiny", {"image_size": (16, 16)}, "does not accept images of 3x16x16"),
    ],
)
def test_mistakes_with_a_factory(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        create(name, **{"classes": 5, "image_size": (8, 8)} | options)
    assert "\n" not in str(caught.value)


def installed(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> None:
    def entry_points(group: str) -> list[EntryPoint]:
        return [point for point in points if point.group == group]

    monkeypatch.setattr("smskd.registry.entry_points", entry_points)


def test_a_model_of_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(
        monkeypatch,
        EntryPoint("slim", f"{__name__}:tiny", "smskd.models"),
        EntryPoint("other", f"{__name__}:tiny", "smskd.methods"),
    )
    model = create("slim", classes=5, image_size=(8, 8), features={"mine": "1"}, width=6)
    assert isinstance(model, HookedModel)
    assert model.feature_names == ("mine", "pooled")
    assert model(torch.zeros(2, 3, 8, 8)).shape == (2, 5)
    with pytest.raises(UserError, match="unknown model 'slimm'; did you mean 'slim'"):
        create("slimm")
    with pytest.raises(UserError, match="unknown model 'other'"):
        create("other")


def test_an_entry_point_must_not_hide_a_model_of_the_zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, EntryPoint("resnet20", f"{__name__}:tiny", "smskd.models"))
    assert isinstance(create("resnet8_w2"), ResNet)
    with pytest.raises(UserError, match=r"'resnet20' .* has the name of a built-in one"):
        create("slim")
