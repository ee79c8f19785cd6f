"""Networks that cannot be folded, or copied as they are, are frozen nevertheless."""

import random
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from smskd.models import adapt
from smskd.models.frozen import Frozen
from smskd.models.zoo.projection import NarrowProjection
from tests.support.networks import CLASSES, EXAMPLE, images, same, state_of


class StaysInTrainMode(nn.BatchNorm2d):
    def train(self, mode: bool = True) -> nn.Module:
        return super().train(True)


class NormAndScale(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


class Counting(nn.Module):
    """Counts its calls in eval mode too."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x


def plain(conv: nn.Module) -> nn.Module:
    return conv


def pruned(conv: nn.Module) -> nn.Module:
    made: nn.Module = prune.l1_unstructured(conv, "weight", 0.2)
    return made


def old_weight_norm(conv: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made: nn.Module = nn.utils.weight_norm(conv)
    return made


def hooked(conv: nn.Module) -> nn.Module:
    conv.register_forward_hook(lambda _module, _inputs, output: output + 1)
    return conv


def network(
    change: Callable[[nn.Module], nn.Module] = plain,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    extra: nn.Module | None = None,
) -> nn.Sequential:
    """Two convolutions with batch norms behind the stem, of which the first is always folded."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        change(nn.Conv2d(4, 4, 3, padding=1)),
        norm(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        extra or nn.Identity(),
        nn.Linear(4, CLASSES),
    )
    net(images(20))
    return net


def no_running_statistics(width: int) -> nn.Module:
    return nn.BatchNorm2d(width, track_running_stats=False)


FALLBACKS = {
    "plain": (network, None),
    "no affine": (lambda: network(norm=lambda width: nn.BatchNorm2d(width, affine=False)), None),
    "pruned": (lambda: network(pruned), "anew in each pass"),
    "old weight norm": (lambda: network(old_weight_norm), "anew in each pass"),
    "old spectral norm": (lambda: network(nn.utils.spectral_norm), "anew in each pass"),
    "weight norm": (lambda: network(parametrizations.weight_norm), "anew in each pass"),
    "spectral norm": (lambda: network(parametrizations.spectral_norm), "anew in each pass"),
    "hook": (lambda: network(hooked), "hooks"),
    "no running statistics": (lambda: network(norm=no_running_statistics), "statistics of the batch"),
    "stays in train mode": (lambda: network(norm=StaysInTrainMode), "statistics of the batch"),
    "subclass": (lambda: network(norm=NormAndScale), "forward of their own"),
    "counter": (lambda: network(extra=Counting()), None),
}


@pytest.mark.parametrize("case", FALLBACKS)
def test_outputs_are_those_of_the_network(case: str) -> None:
    make, note = FALLBACKS[case]
    net = make().eval()
    model = adapt(net, EXAMPLE)
    folded, unfolded = Frozen(model, EXAMPLE), Frozen(model)
    assert folded.folds
    assert not unfolded.folds
    assert [note in text for text in folded.notes] == ([True] if note is not None else [])
    before = state_of(model)
    with torch.no_grad():
        expected = net(images())
    for _ in range(2):
        torch.testing.assert_close(folded(images()), expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(unfolded(images()), expected, rtol=1e-5, atol=1e-6)
    assert same(state_of(folded), before)


@pytest.mark.parametrize("layer", [StaysInTrainMode(1), Counting()], ids=["norm", "counter"])
def test_buffers_that_change_in_eval_mode_are_not_those_of_the_state_dict(layer: nn.Module) -> None:
    frozen = Frozen(adapt(nn.Sequential(layer, nn.Flatten(), nn.Linear(64, CLASSES)), EXAMPLE), EXAMPLE)
    assert not frozen.folds
    before = state_of(frozen)
    frozen(images())
    assert same(state_of(frozen), before)
    assert not same(state_of(frozen._running), before)


def test_each_batch_norm_is_judged_alone() -> None:
    frozen = Frozen(adapt(network(pruned).eval(), EXAMPLE), EXAMPLE)
    running = [type(module) for module in frozen._running.wrapped.children()]
    assert running[3] is nn.Identity
    assert running[6] is nn.BatchNorm2d
    assert frozen.notes == (
        "1 batch norms are not folded: their convolutions compute a parameter anew in each pass"
        " (pruned, normalised or parametrized).",
    )


def test_an_example_that_the_network_does_not_accept_prevents_folding_alone() -> None:
    frozen = Frozen(adapt(network().eval(), EXAMPLE), torch.zeros(1, 3, 8, 8))
    assert not frozen.folds
    assert len(frozen.notes) == 1
    assert frozen.notes[0].startswith("Batch norms are not folded: ")
    assert frozen(images()).shape == (6, CLASSES)


def test_a_narrow_projection_is_folded() -> None:
    net = network(lambda _: NarrowProjection(4, 4, 1, stride=2)).eval()
    frozen = Frozen(adapt(net, EXAMPLE), EXAMPLE)
    assert isinstance(frozen._running.wrapped.get_submodule("5"), NarrowProjection)
    assert isinstance(frozen._running.wrapped.get_submodule("6"), nn.Identity)
    torch.testing.assert_close(frozen(images()), net(images()).detach(), rtol=1e-5, atol=1e-6)


class Random(nn.Module):
    """Draws random numbers in eval mode from each of the three generators."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x) + random.random() + float(np.random.rand())


@pytest.mark.parametrize(
    ("make", "alone"),
    [
        (network, True),
        (lambda: network(norm=lambda width: nn.GroupNorm(2, width)), True),
        (lambda: network(norm=no_running_statistics), False),
        (lambda: network(norm=StaysInTrainMode), False),
        (lambda: network(extra=Random()), False),
    ],
    ids=["running statistics", "group norm", "no running statistics", "train mode", "random"],
)
@pytest.mark.parametrize("example", [EXAMPLE, None], ids=["example", "none"])
def test_whether_images_are_seen_alone(make: Callable[[], nn.Module], alone: bool, example: Tensor | None) -> None:
    model = adapt(make().eval(), EXAMPLE)
    random_layers = any(isinstance(module, Random) for module in model.modules())
    assert Frozen(model, example).sees_images_alone == (alone or (example is None and random_layers))


class Centred(nn.Module):
    """Subtracts the mean over the batch, which no layer's type shows."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(dim=0, keepdim=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dependence_on_the_batch_is_measured(dtype: torch.dtype) -> None:
    assert not Frozen(adapt(network(extra=Centred()).to(dtype).eval(), EXAMPLE), EXAMPLE).sees_images_alone
    assert Frozen(adapt(network().to(dtype).eval(), EXAMPLE), EXAMPLE).sees_images_alone


class OneSize(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(4, 4)


def test_a_network_for_batches_of_one_size_is_not_run_on_others() -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), OneSize(), nn.Linear(4, CLASSES))
    assert not Frozen(adapt(net, torch.zeros(4, 1, 8, 8)), EXAMPLE).sees_images_alone


def test_random_state_is_left_as_it_was() -> None:
    model = adapt(network(extra=Random()).eval(), EXAMPLE)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    Frozen(model, EXAMPLE)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])
