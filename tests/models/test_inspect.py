"""Describing a model by a dry run."""

import copy

import pytest
import torch
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.models import adapt, create, describe


class Counting(nn.Module):
    """Changes its buffers and replaces one of them, even in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 5)
        self.register_buffer("inside", torch.zeros(1))
        self.register_buffer("replaced", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.inside += 1
        self.replaced = self.replaced + 1
        return self.fc(x.mean(dim=(2, 3)))


class Odd(nn.Module):
    """Its output is not [N, classes]."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape
        self.fc = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(self.shape)


def test_the_layout_of_a_zoo_model() -> None:
    layout = describe(create("resnet8", classes=7), (3, 32, 32))
    assert layout.features == {
        "stem": (16, 32, 32),
        "stage1": (16, 32, 32),
        "stage2": (32, 16, 16),
        "stage3": (64, 8, 8),
        "pooled": (64,),
    }
    assert list(layout.features) == ["stem", "stage1", "stage2", "stage3", "pooled"]
    assert layout.classes == 7
    assert layout.last_map == "stage3"
    assert layout.pooled == "pooled"
    assert layout.before_relu("stage3") == "stage3.preact"
    assert layout.before_relu("stem") == "stem"


def test_mobilenet_has_no_preactivations() -> None:
    layout = describe(create("MobileNetV2"), (3, 32, 32))
    assert layout.stages == ("stage1", "stage2", "stage3", "stage4")
    assert [layout.before_relu(name) for name in layout.stages] == list(layout.stages)


@pytest.mark.parametrize("training", [True, False])
def test_modes_and_buffers_are_left_as_they_were(training: bool) -> None:
    model = create("wrn_16_1").train(training)
    model.get_submodule("block1").train(not training)
    modes = [module.training for module in model.modules()]
    before = copy.deepcopy(model.state_dict())
    describe(model, (3, 16, 16))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_buffers_that_change_in_eval_mode_are_restored() -> None:
    module = Counting()
    inside, replaced = module.inside, module.replaced
    describe(adapt(module, torch.zeros(2, 3, 8, 8)), (3, 8, 8))
    assert module.inside is inside
    assert module.replaced is replaced
    assert inside.item() == 0
    assert replaced.item() == 0


def test_modes_are_restored_after_an_error() -> None:
    model = create("vgg8").train()
    with pytest.raises(UserError):
        describe(model, (3, 4, 4))
    assert all(module.training for module in model.modules())


def test_images_have_the_type_of_the_weights() -> None:
    assert describe(create("resnet8_w2").double(), (3, 8, 8)).classes == 100


def test_images_lie_on_the_device_of_the_weights() -> None:
    assert describe(create("resnet8_w2").to("meta"), (3, 8, 8)).features["pooled"] == (8,)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("vgg8", (3, 4, 4), "does not accept images of 3x4x4 .*too small"),
        ("resnet8", (1, 32, 32), "does not accept images of 1x32x32 .*to have 3 channels"),
    ],
)
def test_images_that_the_model_cannot_take(name: str, shape: tuple[int, int, int], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        describe(create(name), shape)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(2,), (3, 5), (2, 5, 1)])
def test_an_output_that_is_not_logits(shape: tuple[int, ...]) -> None:
    model = adapt(Odd(*shape), torch.zeros(2, 3, 8, 8))
    with pytest.raises(UserError, match=r"that of a classifier has \[2, classes\]"):
        describe(model, (3, 8, 8))
