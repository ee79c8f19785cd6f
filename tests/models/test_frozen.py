"""A frozen network keeps its weights and its outputs, whatever is done to it or to the network it was copied from."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from smskd.models import adapt
from smskd.models.frozen import Frozen
from tests.support.networks import CLASSES, EXAMPLE, images, same, state_of, student, teacher

folding = pytest.mark.parametrize("example", [None, EXAMPLE], ids=["unfolded", "folded"])


class Noisy(nn.Module):
    """Batch norm without momentum, dropout, and a counter that every call in train mode increments."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4, momentum=None)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, CLASSES)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        y: Tensor = self.fc(self.drop(self.norm(self.conv(x)).relu().mean((2, 3))))
        return y


@folding
def test_a_copy_has_its_own_weights(example: Tensor | None) -> None:
    model = teacher()
    frozen = Frozen(model, example)
    before, expected = state_of(frozen), frozen(images())
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(1)
    assert same(state_of(frozen), before)
    assert torch.equal(frozen(images()), expected)


def test_without_a_copy_the_model_itself_is_taken() -> None:
    model = teacher()
    expected = Frozen(model)(images())
    frozen = Frozen(model, copy=False)
    assert frozen.model is model
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(frozen(images()), expected)


@folding
def test_the_weights_lie_on_the_device_once(example: Tensor | None) -> None:
    frozen = Frozen(teacher(), example)
    frozen._apply(lambda tensor: tensor.double())
    running = frozen._running
    assert next(frozen.model.parameters()).dtype == next(running.parameters()).dtype == torch.float64
    assert frozen.folds == (example is not None)
    assert (frozen.model is running) == (example is None)
    assert next(frozen.model.parameters()).device.type == "cpu"


@pytest.mark.parametrize("training", [True, False])
def test_a_copied_model_is_left_as_it_is(training: bool) -> None:
    model = teacher().train(training)
    model.get_submodule("fc").requires_grad_(False)
    required = [parameter.requires_grad for parameter in model.parameters()]
    Frozen(model, EXAMPLE)(images())
    assert all(module.training == training for module in model.modules())
    assert [parameter.requires_grad for parameter in model.parameters()] == required


@folding
@pytest.mark.parametrize("features", [("stage1", "pooled"), ("stem", "stage3.preact", "logits")], ids="+".join)
def test_outputs_are_those_of_the_model_in_eval_mode(features: tuple[str, ...], example: Tensor | None) -> None:
    model = teacher().double()
    frozen = Frozen(model, None if example is None else example.double())
    model.eval()
    x = images().double()
    with torch.no_grad():
        torch.testing.assert_close(frozen(x), model(x), rtol=1e-10, atol=1e-10)
        expected = model.extract(x, features)
    found = frozen.extract(x, features)
    assert set(found) == set(features)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-10, atol=1e-10, msg=name)


def test_no_output_has_a_gradient() -> None:
    frozen = Frozen(teacher()).requires_grad_(True)
    x = images().requires_grad_()
    assert not frozen(x).requires_grad
    assert not any(tensor.requires_grad for tensor in frozen.extract(x, {"stage2", "logits"}).values())
    assert not any(parameter.requires_grad for parameter in frozen.model.parameters())


@folding
def test_autograd_can_save_the_outputs(example: Tensor | None) -> None:
    weight = torch.ones(CLASSES, requires_grad=True)
    (Frozen(teacher(), example)(images()) * weight).sum().backward()
    assert weight.grad is not None


class Constant(nn.Module):
    """Its pooled feature is a view of the images, its logits are a view of a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, CLASSES)
        self.prior = nn.Parameter(torch.ones(1, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        self.fc(x.flatten(1))
        return self.prior.expand(len(x), -1)


def test_outputs_share_no_memory_with_images_or_weights() -> None:
    frozen = Frozen(adapt(Constant(), EXAMPLE), EXAMPLE)
    x = images()
    expected = x.flatten(1).clone()
    found = frozen.extract(x, ("pooled", "logits"))
    x.zero_()
    found["logits"].zero_()
    assert torch.equal(found["pooled"], expected)
    assert torch.equal(frozen(x), torch.ones(6, CLASSES))


@folding
@pytest.mark.parametrize("zoo", [True, False], ids=["zoo", "users"])
def test_no_train_mode_reaches_it(zoo: bool, example: Tensor | None) -> None:
    model = teacher() if zoo else adapt(Noisy(), EXAMPLE)
    frozen = Frozen(model, example)
    parent = nn.Sequential(nn.Identity(), frozen)
    before, expected = state_of(frozen), frozen(images())
    assert not frozen.training
    parent.train()
    assert not frozen.training
    for module in parent.modules():
        module.train()
    parent.requires_grad_(True)
    assert torch.equal(parent(images()), expected)
    assert list(parent.parameters()) == []
    assert same(state_of(frozen), before)


@folding
def test_the_state_dict_is_that_of_the_unfolded_network(example: Tensor | None) -> None:
    model = teacher()
    frozen = Frozen(model, example)
    assert same(state_of(frozen), state_of(model))
    inside = nn.ModuleDict({"reference": frozen})
    assert list(inside.state_dict()) == [f"reference.{key}" for key in model.state_dict()]


@folding
def test_what_was_loaded_is_run(example: Tensor | None) -> None:
    one, other = Frozen(teacher(seed=2), example), Frozen(teacher(seed=3), example)
    assert not torch.allclose(one(images()), other(images()))
    nn.ModuleList([other]).load_state_dict(nn.ModuleList([one]).state_dict())
    assert torch.equal(other(images()), one(images()))
    one.load_state_dict(teacher(seed=5).state_dict())
    assert torch.equal(one(images()), Frozen(teacher(seed=5), example)(images()))
    assert torch.equal(other(images()), Frozen(teacher(seed=2), example)(images()))
    assert one.folds == (example is not None)


@folding
def test_a_state_dict_that_does_not_fit_is_refused(example: Tensor | None) -> None:
    frozen = Frozen(teacher(), example)
    expected, state = frozen(images()), state_of(teacher(seed=4))
    parent = nn.ModuleList([frozen])
    bias = state.pop("fc.bias")
    with pytest.raises(RuntimeError, match=r"Missing key.*fc\.bias"):
        frozen.load_state_dict(state)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*0\.more"):
        parent.load_state_dict({f"0.{key}": value for key, value in {**state, "fc.bias": bias, "more": bias}.items()})
    frozen.load_state_dict(state_of(teacher()))
    with pytest.raises(RuntimeError, match=r"size mismatch for fc\.bias"):
        frozen.load_state_dict({**state_of(teacher()), "fc.bias": bias[:3]})
    assert torch.equal(frozen(images()), expected)


@folding
@pytest.mark.parametrize("name", ["resnet8_w4", "wrn_16_1", "MobileNetV2"])
def test_gradients_flow_through_it_from_a_feature(name: str, example: Tensor | None) -> None:
    model = teacher(name=name).double().eval()
    frozen = Frozen(model, None if example is None else example.double())
    x = images().double()
    given = model.extract(x, ["stage2"])["stage2"].detach()
    gradients = []
    for network in (model, frozen):
        feature = given.clone().requires_grad_()
        found = network.continue_from("stage2", feature, ["stage3", "logits"])
        torch.testing.assert_close(found["logits"], model(x), rtol=1e-9, atol=1e-9)
        (found["logits"].square().sum() + found["stage3"].sum()).backward()
        gradients.append(feature.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-8, atol=1e-8)
    assert all(parameter.grad is None for parameter in (*frozen.model.parameters(), *frozen._running.parameters()))


def test_a_users_network_is_not_entered_in_the_middle() -> None:
    with pytest.raises(NotImplementedError):
        Frozen(adapt(Noisy(), EXAMPLE)).continue_from("stem", torch.zeros(2, 4, 8, 8), ["logits"])


def test_folding_is_checked_without_the_rounding_of_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[tuple[bool, bool]] = set()
    model = student()
    extract = type(model).extract

    def noted(self: Any, x: Tensor, names: Any) -> Any:
        seen.add((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))
        return extract(self, x, names)

    monkeypatch.setattr(type(model), "extract", noted)
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = True
    try:
        assert Frozen(model, EXAMPLE).folds
        assert (matmul.allow_tf32, cudnn.allow_tf32) == (True, True)
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
    assert seen == {(False, False)}
