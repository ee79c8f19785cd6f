"""Features of the models of the zoo: nothing deeper is computed than is read, and nothing twice."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.features import LOGITS, PREACTIVATION, FeatureModel
from smskd.models import create, describe
from smskd.models.zoo.catalog import CATALOG
from smskd.models.zoo.resnet import ResNet
from smskd.models.zoo.wrn import WideResNet

FAMILIES = ["resnet8", "wrn_16_1", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2"]

every_family = pytest.mark.parametrize("name", FAMILIES)


@contextmanager
def calls(model: nn.Module, kind: type[nn.Module]) -> Iterator[list[str]]:
    """The names of the modules of a kind that are called, in order."""
    called: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_args, name=name: called.append(name))
        for name, module in model.named_modules()
        if isinstance(module, kind)
    ]
    yield called
    for handle in handles:
        handle.remove()


def small(name: str) -> FeatureModel:
    torch.manual_seed(0)
    return create(name, classes=10).eval()


def some_images() -> Tensor:
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def everything(model: FeatureModel) -> list[str]:
    before = [name + PREACTIVATION for name in model.feature_names if name in model.preactivation_names]
    return [*model.feature_names, *before, LOGITS]


@every_family
def test_nothing_deeper_than_the_deepest_name_is_computed(name: str) -> None:
    model = small(name)
    with calls(model, nn.Conv2d) as of_all:
        model(some_images())
    with calls(model, nn.Conv2d) as of_stem:
        model.extract(some_images(), ["stem"])
    with calls(model, nn.Conv2d) as of_first_stage:
        model.extract(some_images(), ["stem", "stage1"])
    with calls(model, nn.Linear) as classified:
        model.extract(some_images(), ["pooled"])
    assert len(of_stem) == 1
    assert of_stem == of_all[:1]
    assert 1 < len(of_first_stage) < len(of_all)
    assert of_first_stage == of_all[: len(of_first_stage)]
    assert classified == []


@every_family
def test_everything_is_computed_once(name: str) -> None:
    model = small(name)
    for kind in (nn.Conv2d, nn.BatchNorm2d, nn.Linear):
        with calls(model, kind) as called:
            model.extract(some_images(), everything(model))
        modules = [name for name, module in model.named_modules() if isinstance(module, kind)]
        assert sorted(called) == sorted(modules)


def test_the_norm_after_a_wide_stage_is_computed_only_where_it_is_read() -> None:
    model = small("wrn_16_1")
    with calls(model, nn.BatchNorm2d) as without:
        model.extract(some_images(), ["stage1"])
    with calls(model, nn.BatchNorm2d) as with_it:
        model.extract(some_images(), ["stage1", "stage1.preact"])
    assert with_it == [*without, "block2.layer.0.bn1"]


@every_family
def test_a_feature_does_not_depend_on_which_others_are_read(name: str) -> None:
    model = small(name)
    together = model.extract(some_images(), everything(model))
    assert set(together) == set(everything(model))
    for one in everything(model):
        alone = model.extract(some_images(), [one])
        assert list(alone) == [one]
        assert torch.equal(alone[one], together[one])
    assert torch.equal(model(some_images()), together[LOGITS])


@pytest.mark.parametrize("name", ["resnet8", "vgg8", "ShuffleV1"])
def test_a_stage_is_the_relu_of_its_preactivation(name: str) -> None:
    model = small(name)
    read = model.extract(some_images(), everything(model))
    for stage in model.preactivation_names:
        assert read[stage + PREACTIVATION].min() < 0
        assert torch.equal(read[stage], read[stage + PREACTIVATION].relu())


@every_family
def test_the_classifier_maps_pooled_to_logits(name: str) -> None:
    model = small(name)
    read = model.extract(some_images(), ["pooled", LOGITS])
    assert model.classifier is not None
    assert torch.equal(model.classifier(read["pooled"]), read[LOGITS])


@every_family
def test_gradients_reach_every_parameter(name: str) -> None:
    model = create(name, classes=10)
    read = model.extract(some_images(), everything(model))
    sum(tensor.square().mean() for tensor in read.values()).backward()  # type: ignore[union-attr]
    assert all(parameter.grad is not None for parameter in model.parameters())


@every_family
def test_modules_are_found_by_their_names(name: str) -> None:
    model = small(name)
    values = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for key, parameter in model.named_parameters():
        assert model.get_parameter(key) is parameter
    doubled = {key: value * 2 if value.is_floating_point() else value for key, value in values.items()}
    once = torch.func.functional_call(model, values, (some_images(),))
    twice = torch.func.functional_call(model, doubled, (some_images(),))
    assert torch.equal(once, model(some_images()))
    assert not torch.allclose(once, twice)


@every_family
def test_it_compiles_without_a_graph_break(name: str) -> None:
    model = small(name)
    names = ["stage1", "stage2.preact"] if model.preactivation_names else ["stage1"]
    compiled = torch.compile(lambda x: model.extract(x, names), backend="eager", fullgraph=True)
    expected = model.extract(some_images(), names)
    for key, tensor in compiled(some_images()).items():
        assert torch.equal(tensor, expected[key])


def test_a_copy_is_independent() -> None:
    model = small("resnet8")
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert model(some_images()).abs().max() > 0


@pytest.mark.parametrize("name", ["stage4", "stem.preact", "nothing"])
def test_an_unknown_name_is_a_key_error(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        small("resnet8").extract(some_images(), ["stem", name])


def test_no_names_need_no_work() -> None:
    model = small("resnet8")
    with calls(model, nn.Conv2d) as called:
        assert model.extract(some_images(), []) == {}
    assert called == []


@pytest.mark.parametrize("name", CATALOG)
def test_small_grayscale_images(name: str) -> None:
    layout = describe(create(name, classes=10, channels=1), (1, 8, 8))
    assert layout.classes == 10
    assert layout.stem == "stem"
    assert layout.features["stem"][0] > 0
    assert layout.features[layout.pooled] == (pooled_width(name, layout.features),)


def pooled_width(name: str, features: dict[str, tuple[int, ...]]) -> int:
    """The pooled vector has the width of the last map, except in the models with one more convolution behind it."""
    return {"MobileNetV2": 1280, "ShuffleV2": 1024}.get(name, list(features.values())[-2][0])


def test_the_narrow_resnets_are_a_family() -> None:
    for depth in (8, 14, 20):
        for width in (2, 4, 8):
            layout = describe(create(f"resnet{depth}_w{width}", classes=10, channels=1), (1, 8, 8))
            assert list(layout.features.values()) == [
                (width, 8, 8),
                (width, 8, 8),
                (2 * width, 4, 4),
                (4 * width, 2, 2),
                (4 * width,),
            ]


@pytest.mark.parametrize("depth", [2, 9, 12])
def test_a_resnet_of_an_impossible_depth(depth: int) -> None:
    with pytest.raises(UserError, match=rf"6n\+2 layers .* not {depth}"):
        ResNet(depth)


@pytest.mark.parametrize("depth", [4, 18])
def test_a_wide_resnet_of_an_impossible_depth(depth: int) -> None:
    with pytest.raises(UserError, match=rf"6n\+4 layers .* not {depth}"):
        WideResNet(depth, 1)


def test_convolutions_start_from_the_published_distribution() -> None:
    torch.manual_seed(0)
    model = create("resnet8x4")
    weight = model.get_parameter("layer3.0.conv2.weight")
    assert weight.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)
    assert weight.mean().item() == pytest.approx(0, abs=1e-3)
