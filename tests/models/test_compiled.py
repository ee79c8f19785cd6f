"""Frozen networks that are compiled: the same features, or none."""

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from smskd import models
from smskd.interfaces.features import FeatureModel
from smskd.models import compiled, frozen
from smskd.models.compiled import compiled_extract
from smskd.models.frozen import Frozen

NAMES = {"stage1.preact", "stage2", "pooled", "logits"}
PICTURES = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)


def network() -> FeatureModel:
    torch.manual_seed(0)
    return models.create("resnet8_w4", classes=5, channels=3, image_size=(16, 16)).eval()


def untouched(graph: Any, pictures: Tensor) -> Any:
    """What is traced, in place of what is compiled: that takes seconds."""
    return graph


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_the_features_are_those_of_the_network() -> None:
    model = network()
    extract = compiled_extract(model, PICTURES, NAMES)
    assert extract is not None
    with torch.no_grad():
        expected = model.extract(PICTURES + 1, NAMES)
    found = extract(PICTURES + 1)
    assert found.keys() == NAMES
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-5)


def wrong(graph: Any, pictures: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]]:
    return lambda x: tuple(1.001 * tensor for tensor in graph(x))


def failing(graph: Any, pictures: Tensor) -> Any:
    raise RuntimeError("no compiler here")


@pytest.mark.parametrize("compiler", [wrong, failing])
def test_a_program_that_is_wrong_or_none_is_not_used(compiler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_compile", compiler)
    assert compiled_extract(network(), PICTURES, NAMES) is None
    net = Frozen(network(), PICTURES)
    expected = net(PICTURES)
    net.compiles = True
    torch.testing.assert_close(net(PICTURES), expected, rtol=0, atol=0)


def test_only_whole_batches_go_through_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_compile", untouched)
    made: list[tuple[int, frozenset[str]]] = []
    used: list[int] = []

    def noted(model: FeatureModel, pictures: Tensor, names: Any) -> Any:
        made.append((len(pictures), frozenset(names)))
        extract = compiled_extract(model, pictures, names)
        assert extract is not None

        def run(x: Tensor) -> dict[str, Tensor]:
            used.append(len(x))
            return extract(x)

        return run

    monkeypatch.setattr(frozen, "compiled_extract", noted)
    net = Frozen(network(), PICTURES)
    whole = net.extract(PICTURES, NAMES)
    net.compiles = True
    for pictures in (PICTURES, PICTURES[:3], PICTURES):
        for name, tensor in net.extract(pictures, NAMES).items():
            torch.testing.assert_close(tensor, whole[name][: len(pictures)])
            assert not tensor.is_inference()
    net(PICTURES)
    assert made == [(4, frozenset(NAMES)), (4, frozenset({"logits"}))]
    assert used == [4, 4, 4]


def test_other_weights_make_another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_compile", untouched)
    net = Frozen(network(), PICTURES)
    net.compiles = True
    before = net(PICTURES)
    torch.manual_seed(1)
    other = models.create("resnet8_w4", classes=5, channels=3, image_size=(16, 16)).eval()
    net.load_state_dict(other.state_dict())
    after = net(PICTURES)
    with torch.no_grad():
        torch.testing.assert_close(after, other(PICTURES), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(after, before)
    double = net.double()(PICTURES.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), after, rtol=1e-4, atol=1e-5)


def test_it_says_whether_the_last_whole_batch_was_computed_by_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(graph: Any, pictures: Tensor) -> Any:
        return wrong(graph, pictures) if len(graph(pictures)) > 1 else graph

    monkeypatch.setattr(compiled, "_compile", refused)
    net = Frozen(network(), PICTURES)
    net(PICTURES)
    assert not net.compiled
    net.compiles = True
    net(PICTURES)
    assert net.compiled
    net(PICTURES[:2])
    assert net.compiled
    net.extract(PICTURES, NAMES)
    assert not net.compiled
