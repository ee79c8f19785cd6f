"""Any network as a feature model."""

import copy
from types import SimpleNamespace

import pytest
import torch
import torchvision
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.models import adapt, create, describe
from smskd.models.hooks import HookedModel


def images(size: int = 32) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def plain() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 5),
    )


class Repeating(nn.Module):
    """Calls one of its modules twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.unused = nn.Conv2d(3, 3, 3)
        self.fc = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.conv(x))
        return self.fc(x.mean(dim=(2, 3)))


class Gated(nn.Module):
    """A small gate inside the network, and a classifier without a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.squeeze = nn.Conv2d(4, 4, 1)
        self.body = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x * self.squeeze(x.mean(dim=(2, 3), keepdim=True)).sigmoid()
        return self.head(self.body(x)).mean(dim=(2, 3))


def hook_count(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) for part in module.modules())


def test_a_feature_model_is_returned_as_it_is() -> None:
    model = create("resnet8_w2")
    assert adapt(model, images()) is model
    with pytest.raises(UserError, match="features: this model already has features"):
        adapt(model, images(), {"map": "layer1"})


def test_a_plain_network() -> None:
    module = plain().eval()
    model = adapt(module, images())
    assert model.feature_names == ("stem", "stage1", "stage2", "pooled")
    assert model.wrapped is module
    assert model.classifier is module[8]
    read = model.extract(images(), [*model.feature_names, "logits"])
    stem = module[0](images())
    stage1 = module[2](module[1](stem))
    stage2 = module[5](module[4](module[3](stage1)))
    assert torch.equal(read["stem"], stem)
    assert torch.equal(read["stage1"], stage1)
    assert torch.equal(read["stage2"], stage2)
    assert torch.equal(read["pooled"], stage2.mean(dim=(2, 3)))
    assert torch.equal(read["logits"], module(images()))
    assert describe(model, (3, 32, 32)).features == {
        "stem": (4, 32, 32),
        "stage1": (4, 32, 32),
        "stage2": (6, 16, 16),
        "pooled": (6,),
    }


def test_resnet18_of_torchvision() -> None:
    module = torchvision.models.resnet18(num_classes=10).eval()
    model = adapt(module, images())
    assert isinstance(model, HookedModel)
    assert model.sources == {
        "stem": "relu",
        "stage1": "layer1",
        "stage2": "layer2",
        "stage3": "layer3",
        "stage4": "layer4",
        "pooled": "fc",
    }
    layout = describe(model, (3, 32, 32))
    assert layout.features["stage1"] == (64, 8, 8)
    assert layout.features["stage4"] == (512, 1, 1)
    assert layout.stages == ("stage1", "stage2", "stage3"), "of 1x1 there is nothing to compare in space"
    assert layout.last_map == "stage4"
    assert layout.features["pooled"] == (512,)
    assert layout.classes == 10
    assert layout.preactivations == frozenset()
    assert model.classifier is module.fc


def test_the_global_pooling_of_larger_images_is_no_stage() -> None:
    model = adapt(torchvision.models.resnet18(num_classes=10), images(64))
    assert list(describe(model, (3, 64, 64)).features.values())[-2] == (512, 2, 2)


def test_mobilenet_v3_of_torchvision() -> None:
    module = torchvision.models.mobilenet_v3_small(num_classes=10).eval()
    model = adapt(module, images())
    features = describe(model, (3, 32, 32)).features
    assert features == {
        "stem": (16, 16, 16),
        "stage1": (16, 8, 8),
        "stage2": (24, 4, 4),
        "stage3": (48, 2, 2),
        "stage4": (96, 1, 1),
        "last_map": (576, 1, 1),
        "pooled": (1024,),
    }
    read = model.extract(images(), ["pooled", "logits"])
    assert model.classifier is module.classifier[3]
    assert torch.equal(module.classifier[3](read["pooled"]), read["logits"])


def test_a_network_without_maps() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 7), nn.ReLU(), nn.Linear(7, 5))
    model = adapt(module, images())
    layout = describe(model, (3, 32, 32))
    assert layout.features == {"pooled": (7,)}
    assert layout.stem is None
    assert layout.stages == ()
    assert model.extract(images(), ["pooled"])["pooled"].min() == 0


def test_a_gate_is_no_stage_and_the_last_map_is_pooled_without_a_linear_layer() -> None:
    module = Gated().eval()
    model = adapt(module, images())
    assert describe(model, (3, 32, 32)).features == {
        "stem": (4, 16, 16),
        "stage1": (4, 16, 16),
        "pooled": (4,),
    }, "the last convolution is the classifier"
    read = model.extract(images(), ["pooled", "logits"])
    torch.testing.assert_close(module.head(read["pooled"][:, :, None, None]).flatten(1), read["logits"])
    assert model.classifier is not None
    torch.testing.assert_close(model.classifier(read["pooled"]), read["logits"], msg="as a linear layer")


def test_a_normalisation_in_front_is_not_the_stem() -> None:
    model = adapt(nn.Sequential(nn.InstanceNorm2d(3), plain()), images())
    assert isinstance(model, HookedModel)
    assert model.sources["stem"] == "1.0"
    assert model.sources["stage1"] == "1.2"


def test_each_call_of_a_module_has_a_name() -> None:
    module = Repeating().eval()
    model = adapt(module, images(), {"first": "conv", "second": "conv:2"})
    read = model.extract(images(), ["first", "second"])
    assert torch.equal(read["first"], module.conv(images()))
    assert torch.equal(read["second"], module.conv(module.conv(images())))
    with pytest.raises(UserError, match="'conv' is called 2 times in a forward pass, so there is no call 3"):
        adapt(module, images(), {"map": "conv:3"})


def test_a_mapping_is_sorted_in_network_order_and_pooled_is_added() -> None:
    model = adapt(plain(), images(), {"late": "5", "early": "2"})
    assert model.feature_names == ("early", "late", "pooled")


def test_a_mapping_may_define_pooled() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 7), nn.ReLU(), nn.Linear(7, 6), nn.Linear(6, 5))
    model = adapt(module, images(), {"pooled": "2"})
    assert describe(model, (3, 32, 32)).features == {"pooled": (7,)}


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"map": "convv"}, "feature 'map': the model has no module 'convv'; did you mean 'conv'"),
        ({"map": "unused"}, "'unused' is not called"),
        ({"logits": "fc"}, "logits and .* are reserved names"),
        ({"map.preact": "conv"}, r"logits and \*\.preact are reserved names"),
    ],
)
def test_mistakes_in_a_mapping(features: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        adapt(Repeating(), images(), features)


def test_a_module_that_outputs_neither_a_map_nor_tokens_nor_a_vector() -> None:
    module = nn.Sequential(nn.Unflatten(3, (4, 8)), nn.Flatten(), nn.Linear(3 * 32 * 32, 5))
    with pytest.raises(UserError, match=r"has shape \[2, 3, 32, 4, 8\]; a map"):
        adapt(module, images(), {"map": "0"})


def test_an_unknown_name_is_a_key_error_and_leaves_no_hooks() -> None:
    model = adapt(plain(), images())
    with pytest.raises(KeyError, match="stage9"):
        model.extract(images(), ["stem", "stage9"])
    assert hook_count(model) == 0


def test_hooks_are_gone_after_the_call_and_after_an_error() -> None:
    model = adapt(plain(), images())
    assert hook_count(model) == 0
    model.extract(images(), model.feature_names)
    assert hook_count(model) == 0
    with pytest.raises(RuntimeError):
        model.extract(torch.zeros(2, 1, 32, 32), model.feature_names)
    assert hook_count(model) == 0
    with pytest.raises(UserError, match="does not accept images of 1x32x32"):
        adapt(model.wrapped, torch.zeros(2, 1, 32, 32))
    assert hook_count(model) == 0


def test_a_copy_reads_its_own_weights() -> None:
    model = adapt(plain().eval(), images())
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.wrapped[0].weight.zero_()  # type: ignore[index]
    ours = model.extract(images(), ["stem"])["stem"]
    theirs = twin.extract(images(), ["stem"])["stem"]
    assert twin.classifier is not model.classifier
    assert ours.std() > 0.1
    assert theirs.std(dim=(0, 2, 3)).max() < 1e-6


def test_gradients_flow_through_features() -> None:
    model = adapt(plain(), images())
    model.extract(images(), ["stage1"])["stage1"].square().mean().backward()
    assert model.wrapped[0].weight.grad.abs().max() > 0  # type: ignore[index]


def test_discovery_changes_nothing() -> None:
    module = plain().train()
    module[1].eval()
    before = copy.deepcopy(module.state_dict())
    adapt(module, images())
    assert all(torch.equal(before[key], tensor) for key, tensor in module.state_dict().items())
    assert module.training
    assert not module[1].training
    assert all(parameter.grad is None for parameter in module.parameters())


def test_logits_in_an_output_object() -> None:
    class Wrapping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = plain()

        def forward(self, x: Tensor) -> SimpleNamespace:
            return SimpleNamespace(logits=self.net(x))

    model = adapt(Wrapping().eval(), images())
    assert torch.equal(model(images()), model.wrapped.net(images()))  # type: ignore[operator,union-attr]
    assert model.classifier is not None


def test_an_output_without_logits() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(UserError, match="output is a tuple"):
        adapt(Two(), images())
