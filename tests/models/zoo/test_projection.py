"""A narrow strided projection is equal to ``nn.Conv2d``, and the zoo uses it where it is needed."""

import pytest
import torch
from torch import Tensor, nn

from smskd.models import create, names
from smskd.models.zoo.projection import NARROW, NarrowProjection, projection
from smskd.models.zoo.resnet50 import ResNet50
from smskd.models.zoo.wrn import WideResNet


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 2)])
@pytest.mark.parametrize("stride", [(2, 2), (3, 2), (1, 2)])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients(size: tuple[int, int], stride: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 5, 1, stride=stride, bias=bias).double()
    narrow = NarrowProjection(3, 5, 1, stride=stride, bias=bias).double()
    narrow.load_state_dict(plain.state_dict())
    found: list[list[Tensor]] = []
    for layer in (plain, narrow):
        x = torch.randn(4, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
        output = layer(x)
        found.append([output, *torch.autograd.grad(output.sin().sum(), [x, *layer.parameters()])])
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-12)


def test_only_few_channels_and_a_stride_need_it() -> None:
    assert type(projection(NARROW - 1, 8, 2)) is NarrowProjection
    assert type(projection(NARROW, 8, 2)) is nn.Conv2d
    assert type(projection(NARROW - 1, 8, 1)) is nn.Conv2d


def reaches_the_fault(layer: nn.Module) -> bool:
    return (
        type(layer) is nn.Conv2d
        and layer.kernel_size == (1, 1)
        and layer.stride != (1, 1)
        and layer.groups == 1
        and layer.in_channels < 16
    )


def test_no_network_of_the_zoo_reaches_the_fault() -> None:
    deep_twins = ("resnet32", "resnet44", "resnet56", "resnet110", "wrn_40")  # more blocks, of the same layers
    with torch.device("meta"):
        networks = [create(name, channels=1) for name in names() if not name.startswith(deep_twins)]
        networks += [ResNet50(width=2), WideResNet(10, 1)]
    assert [layer for network in networks for layer in network.modules() if reaches_the_fault(layer)] == []
    assert any(isinstance(layer, NarrowProjection) for layer in networks[-2].modules())
