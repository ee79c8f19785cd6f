"""What is frozen stays as it is, whatever is done to it or to what it was copied from."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from smskd.models import adapt
from smskd.models.frozen import Frozen
from smskd.training.host import allow_tf32
from tests.support import tiny


def pictures() -> Tensor:
    return torch.randn(6, *tiny.SHAPE, generator=torch.Generator().manual_seed(3))


class Noisy(nn.Module):
    """Batch norm without momentum, dropout, and a counter that moves with every call in train mode."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4, momentum=None)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, tiny.CLASSES)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        y: Tensor = self.fc(self.drop(self.norm(self.conv(x)).relu().mean((2, 3))))
        return y


def test_is_a_copy_of_its_own() -> None:
    model = tiny.teacher()
    frozen = Frozen(model)
    before, expected = tiny.bits(frozen.model), frozen(pictures())
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(1)
    assert tiny.same(tiny.bits(frozen.model), before)
    assert torch.equal(frozen(pictures()), expected)


@pytest.mark.parametrize("training", [True, False])
def test_leaves_the_model_as_it_is(training: bool) -> None:
    model = tiny.teacher().train(training)
    model.get_submodule("fc").requires_grad_(False)
    asked = [parameter.requires_grad for parameter in model.parameters()]
    Frozen(model)(pictures())
    assert all(module.training == training for module in model.modules())
    assert [parameter.requires_grad for parameter in model.parameters()] == asked


@pytest.mark.parametrize("example", [None, tiny.EXAMPLE], ids=["as it is", "folded"])
@pytest.mark.parametrize("features", [("stage1", "pooled"), ("stem", "stage3.preact", "logits")], ids="+".join)
def test_gives_what_the_model_gives_in_eval_mode(features: tuple[str, ...], example: Tensor | None) -> None:
    model = tiny.teacher().double()
    frozen = Frozen(model, example)
    model.eval()
    x = pictures().double()
    with torch.no_grad():
        torch.testing.assert_close(frozen(x), model(x), rtol=1e-10, atol=1e-10)
        expected = model.extract(x, features)
    found = frozen.extract(x, features)
    assert set(found) == set(features)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-10, atol=1e-10, msg=name)


def test_nothing_has_a_gradient() -> None:
    frozen = Frozen(tiny.teacher()).requires_grad_(True)
    x = pictures().requires_grad_()
    assert not frozen(x).requires_grad
    assert not any(tensor.requires_grad for tensor in frozen.extract(x, {"stage2", "logits"}).values())
    assert not any(parameter.requires_grad for parameter in Frozen(tiny.teacher()).parameters())


@pytest.mark.parametrize("own", [True, False], ids=["zoo", "foreign"])
def test_no_train_mode_reaches_it(own: bool) -> None:
    model = tiny.teacher() if own else adapt(Noisy(), tiny.EXAMPLE)
    frozen = Frozen(model)
    parent = nn.Sequential(nn.Identity(), frozen)
    before, expected = tiny.bits(frozen), frozen(pictures())
    assert not frozen.training
    parent.train()
    assert not frozen.training
    assert torch.equal(parent(pictures()), expected)
    for module in parent.modules():
        module.train()
    assert torch.equal(parent(pictures()), expected)
    for module in frozen.modules():
        module.training = True
    assert torch.equal(frozen.extract(pictures(), {"logits"})["logits"], expected)
    assert tiny.same(tiny.bits(frozen), before)


@pytest.mark.parametrize("example", [None, tiny.EXAMPLE], ids=["as it is", "folded"])
def test_runs_what_was_loaded_into_it(example: Tensor | None) -> None:
    one, other = Frozen(tiny.teacher(seed=2), example), Frozen(tiny.teacher(seed=3), example)
    assert not torch.allclose(one(pictures()), other(pictures()))
    nn.ModuleList([other]).load_state_dict(nn.ModuleList([one]).state_dict())
    assert torch.equal(other(pictures()), one(pictures()))
    one.load_state_dict(Frozen(tiny.teacher(seed=5), example).state_dict())
    assert not torch.allclose(other(pictures()), one(pictures()))


def test_folding_is_checked_without_the_rounding_of_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, bool]] = []
    model = tiny.teacher()
    extract = type(model).extract

    def noted(self: Any, x: Tensor, names: Any) -> Any:
        seen.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))
        return extract(self, x, names)

    monkeypatch.setattr(type(model), "extract", noted)
    before = torch.backends.cuda.matmul.allow_tf32
    allow_tf32(True)
    try:
        assert Frozen(model, tiny.EXAMPLE).folds
        assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (True, True)
    finally:
        allow_tf32(before)
    assert seen == [(False, False)] * 2
