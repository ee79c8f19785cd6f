"""Frozen networks that are compiled: the same features, or none."""

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from smskd import models
from smskd.interfaces.features import FeatureModel
from smskd.models import compiled_frozen, frozen
from smskd.models.compiled_frozen import compiled_extract
from smskd.models.frozen import Frozen

NAMES = {"stage1.preact", "stage2", "pooled", "logits"}
IMAGES = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)


def network() -> FeatureModel:
    torch.manual_seed(0)
    return models.create("resnet8_w4", classes=5, channels=3, image_size=(16, 16)).eval()


def untouched(graph: Any, images: Tensor) -> Any:
    """The traced graph in place of a compiled one, which takes seconds."""
    return graph


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_the_features_are_those_of_the_network() -> None:
    model = network()
    extract = compiled_extract(model, IMAGES, NAMES)
    assert extract is not None
    with torch.no_grad():
        expected = model.extract(IMAGES + 1, NAMES)
    found = extract(IMAGES + 1)
    assert found.keys() == NAMES
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-5)


def wrong(graph: Any, images: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]]:
    return lambda x: tuple(1.001 * tensor for tensor in graph(x))


def failing(graph: Any, images: Tensor) -> Any:
    raise RuntimeError("no compiler here")


@pytest.mark.parametrize("compiler", [wrong, failing])
def test_a_wrong_or_failing_program_is_not_used(compiler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_frozen, "_compile", compiler)
    assert compiled_extract(network(), IMAGES, NAMES) is None
    net = Frozen(network(), IMAGES)
    expected = net(IMAGES)
    net.compiles = True
    torch.testing.assert_close(net(IMAGES), expected, rtol=0, atol=0)


def test_only_whole_batches_go_through_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_frozen, "_compile", untouched)
    made: list[tuple[int, frozenset[str]]] = []
    used: list[int] = []

    def noted(model: FeatureModel, images: Tensor, names: Any, note: Any) -> Any:
        made.append((len(images), frozenset(names)))
        extract = compiled_extract(model, images, names, note)
        assert extract is not None

        def run(x: Tensor) -> dict[str, Tensor]:
            used.append(len(x))
            return extract(x)

        return run

    monkeypatch.setattr(frozen, "compiled_extract", noted)
    net = Frozen(network(), IMAGES)
    whole = net.extract(IMAGES, NAMES)
    net.compiles = True
    for images in (IMAGES, IMAGES[:3], IMAGES):
        for name, tensor in net.extract(images, NAMES).items():
            torch.testing.assert_close(tensor, whole[name][: len(images)])
            assert not tensor.is_inference()
    net(IMAGES)
    assert made == [(4, frozenset(NAMES)), (4, frozenset({"logits"}))]
    assert used == [4, 4, 4]


def test_other_weights_make_another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_frozen, "_compile", untouched)
    net = Frozen(network(), IMAGES)
    net.compiles = True
    before = net(IMAGES)
    torch.manual_seed(1)
    other = models.create("resnet8_w4", classes=5, channels=3, image_size=(16, 16)).eval()
    net.load_state_dict(other.state_dict())
    after = net(IMAGES)
    with torch.no_grad():
        torch.testing.assert_close(after, other(IMAGES), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(after, before)
    double = net.double()(IMAGES.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), after, rtol=1e-4, atol=1e-5)


def test_whether_the_last_whole_batch_was_computed_by_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(graph: Any, images: Tensor) -> Any:
        return wrong(graph, images) if len(graph(images)) > 1 else graph

    monkeypatch.setattr(compiled_frozen, "_compile", refused)
    net = Frozen(network(), IMAGES)
    net(IMAGES)
    assert not net.compiled
    net.compiles = True
    net(IMAGES)
    assert net.compiled
    net(IMAGES[:2])
    assert net.compiled
    net.extract(IMAGES, NAMES)
    assert not net.compiled
