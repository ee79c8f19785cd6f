"""Models of the zoo that are entered in the middle: the features behind are those of the whole pass."""

import pytest
import torch
from torch import Tensor, nn

from smskd.interfaces.features import LOGITS, PREACTIVATION, FeatureModel
from smskd.models import adapt, create

FAMILIES = [
    "resnet8",
    "resnet8_w2",
    "ResNet50",
    "wrn_16_1",
    "wrn_16_2",
    "vgg8",
    "MobileNetV2",
    "ShuffleV1",
    "ShuffleV2",
]

every_family = pytest.mark.parametrize("name", FAMILIES)


def images(size: int = 16) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def small(name: str) -> FeatureModel:
    torch.manual_seed(0)
    return create(name, classes=10).eval()


def in_order(model: FeatureModel) -> list[str]:
    """Every name that can be read, in the order in which the network computes them."""
    names = [(name + PREACTIVATION, name) for name in model.feature_names if name in model.preactivation_names]
    before = {after: before for before, after in names}
    pairs = [(before.get(name), name) for name in model.feature_names]
    if model.family == "WideResNet":  # the batch norm of the next stage follows the feature
        pairs = [(name, before) for before, name in pairs]  # type: ignore[misc]
    return [*(name for pair in pairs for name in pair if name is not None), LOGITS]


@every_family
def test_every_feature_leads_to_those_behind_it(name: str) -> None:
    model = small(name)
    order = in_order(model)
    with torch.no_grad():
        expected = model.extract(images(), order)
        for position, given in enumerate(order[:-1]):
            feature = expected[given].clone()
            behind = order[position + 1 :]
            found = model.continue_from(given, feature, behind)
            assert list(found) == behind
            for one in behind:
                assert torch.equal(found[one], expected[one]), f"{given} -> {one}"
            assert torch.equal(feature, expected[given]), f"{given} was changed"


@pytest.mark.parametrize("size", [32, 64, 65, 71, 72])
def test_the_pooling_of_large_images_is_found_again(size: int) -> None:
    model = small("vgg8")
    with torch.no_grad():
        expected = model.extract(images(size), ["stem", "stage3", LOGITS])
        for given in ("stem", "stage3"):
            logits = model.continue_from(given, expected[given], [LOGITS])[LOGITS]
            assert torch.equal(logits, expected[LOGITS])


@every_family
def test_no_more_is_computed_than_is_asked_for(name: str) -> None:
    model = small(name)
    called: list[str] = []
    for key, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda *_args, key=key: called.append(key))
    model.extract(images(), ["stage2"])
    first = len(called)
    feature = model.extract(images(), ["stage1"])["stage1"]
    second = len(called) - first
    called.clear()
    model.continue_from("stage1", feature, ["stage2"])
    assert len(called) == first - second > 0
    called.clear()
    assert model.continue_from("stage1", feature, []) == {}
    assert called == []


@every_family
def test_gradients_flow_to_the_feature(name: str) -> None:
    model = small(name).requires_grad_(False)
    feature = model.extract(images(), ["stage1"])["stage1"].requires_grad_()
    model.continue_from("stage1", feature, [LOGITS])[LOGITS].square().sum().backward()
    assert feature.grad is not None
    assert feature.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("stage2", "stage1"),
        ("stage2", "stage2"),
        ("stage2", "stage2.preact"),
        ("stage2", "stage9"),
        ("stage9", "logits"),
        ("logits", "logits"),
    ],
)
def test_names_that_do_not_lie_behind(given: str, wanted: str) -> None:
    model = small("resnet8")
    with pytest.raises(KeyError, match="stage9" if "stage9" in (given, wanted) else wanted):
        model.continue_from(given, torch.zeros(2, 32, 8, 8), [wanted])


def test_the_norm_behind_a_wide_stage_lies_behind_it() -> None:
    model = small("wrn_16_1")
    read = model.extract(images(), ["stage1", "stage1.preact"])
    assert torch.equal(
        model.continue_from("stage1", read["stage1"], ["stage1.preact"])["stage1.preact"], read["stage1.preact"]
    )


def test_a_model_of_the_users_own_is_not_entered_in_the_middle() -> None:
    model = adapt(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 5)), images())
    with pytest.raises(NotImplementedError, match="HookedModel"):
        model.continue_from("stem", torch.zeros(2, 4, 14, 14), [LOGITS])


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("resnet8x4", "ResNet"),
        ("resnet20_w2", "ResNet"),
        ("ResNet50", "ResNet50"),
        ("wrn_40_2", "WideResNet"),
        ("vgg13", "VGG"),
        ("MobileNetV2", "MobileNetV2"),
        ("ShuffleV1", "ShuffleNetV1"),
        ("ShuffleV2", "ShuffleNetV2"),
    ],
)
def test_the_family_is_the_class(name: str, family: str) -> None:
    assert create(name).family == family


def test_a_model_of_the_users_own_has_no_family() -> None:
    assert adapt(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), torch.zeros(2, 3, 2, 2)).family == ""
