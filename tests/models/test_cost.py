"""Parameters and multiply-accumulates of layers counted by hand."""

import copy

import pytest
import torch
from torch import nn

from smskd.errors import UserError
from smskd.models import adapt, create, macs, parameters


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1, groups=2),
        nn.BatchNorm2d(6),
        nn.ConvTranspose2d(6, 2, 2, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2, 5),
    )


def test_counted_by_hand() -> None:
    conv = 8 * 8 * 6 * (2 * 9)
    transposed = 8 * 8 * 6 * (2 * 4)
    assert macs(net(), (4, 8, 8)) == conv + transposed + 2 * 5
    assert parameters(net()) == (6 * 2 * 9 + 6) + 12 + (6 * 2 * 4 + 2) + (2 * 5 + 5)


def test_a_layer_used_twice_costs_twice_and_is_stored_once() -> None:
    shared = nn.Conv2d(3, 3, 1, bias=False)
    module = nn.Sequential(shared, shared)
    assert macs(module, (3, 4, 4)) == 2 * 16 * 9
    assert parameters(module) == 9


def test_an_adapted_model_costs_what_its_module_does() -> None:
    module = net()
    model = adapt(module, torch.zeros(2, 4, 8, 8))
    assert macs(model, (4, 8, 8)) == macs(module, (4, 8, 8))
    assert parameters(model) == parameters(module)


def test_nothing_is_left_behind() -> None:
    module = net().train()
    before = copy.deepcopy(module.state_dict())
    macs(module, (4, 8, 8))
    assert all(torch.equal(before[key], tensor) for key, tensor in module.state_dict().items())
    assert all(not part._forward_hooks and part.training for part in module.modules())


def test_images_that_the_model_cannot_take() -> None:
    model = create("resnet8_w2")
    with pytest.raises(UserError, match="does not accept images of 1x8x8"):
        macs(model, (1, 8, 8))
    assert all(not part._forward_hooks for part in model.modules())
