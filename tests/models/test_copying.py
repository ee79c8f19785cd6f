"""Networks that ``copy.deepcopy`` refuses are copied, and frozen, nevertheless."""

import copy
import threading

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from smskd.models import adapt
from smskd.models.copying import copy_of
from smskd.models.frozen import Frozen
from tests.support.networks import CLASSES, EXAMPLE, images


class Remembers(nn.Module):
    """Keeps its last output, with its graph, and in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))
        self.last: Tensor | None = None
        self.outputs: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.net(x)
        self.outputs = [self.last]
        return self.last


def test_a_network_that_holds_a_graph_tensor_is_copied_without_the_graph() -> None:
    net = Remembers()
    output = net(images())
    frozen = Frozen(adapt(net, EXAMPLE))
    held = frozen.model.wrapped
    assert isinstance(held, Remembers)
    net(images())
    twin = copy_of(net)
    assert twin.last is twin.outputs[0]
    assert twin.last is not None
    assert not twin.last.requires_grad
    assert twin.last.data_ptr() != net.last.data_ptr()  # type: ignore[union-attr]
    assert net.last.requires_grad  # type: ignore[union-attr]
    assert torch.equal(frozen(images()), output.detach())


def test_a_pruned_network_is_copied_with_its_mask() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))
    prune.l1_unstructured(net[1], "weight", 0.3)
    output = net(images())
    output.sum().backward()
    frozen = Frozen(adapt(net, EXAMPLE))
    with torch.no_grad():
        net[1].weight_orig.zero_()
        net(images())
    assert torch.equal(frozen(images()), output.detach())


class Locked(nn.Linear):
    """Has a lock and a hook that cannot be copied."""

    def __init__(self) -> None:
        super().__init__(64, CLASSES)
        self.lock = threading.Lock()
        self.register_forward_hook(Recorder())


class Recorder:
    def __init__(self) -> None:
        self.calls = 0
        self.lock = threading.Lock()

    def __call__(self, _module: nn.Module, _inputs: object, _output: Tensor) -> None:
        self.calls += 1


def test_hooks_and_attributes_that_cannot_be_copied_are_shared() -> None:
    net = nn.Sequential(nn.Flatten(), Locked())
    with pytest.raises(TypeError):
        copy.deepcopy(net)
    frozen = Frozen(adapt(net, EXAMPLE))
    held = frozen.model.wrapped.get_submodule("1")
    assert held.lock is net[1].lock
    assert held.weight is not net[1].weight
    expected = net(images()).detach()
    with torch.no_grad():
        net[1].weight.zero_()
    torch.testing.assert_close(frozen(images()), expected)
