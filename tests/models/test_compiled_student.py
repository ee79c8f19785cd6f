"""A compiled student: the same features and gradients, or none."""

from typing import Any

import pytest
import torch
from torch import Tensor

from smskd.interfaces.features import FeatureModel
from smskd.models import compiled
from smskd.models.compiled import CompiledStudent, compiled_training
from tests.support import networks
from tests.support.networks import SHAPE, same, state_of

NAMES = ("logits", "stage2")
IMAGES = torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(3))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")


def student() -> FeatureModel:
    return networks.student().train()


def gradients(model: FeatureModel, found: dict[str, Tensor]) -> list[Tensor]:
    loss = torch.stack([value.square().mean() for value in found.values()]).sum()
    return list(torch.autograd.grad(loss, list(model.parameters())))


def test_features_and_gradients_are_those_of_the_student() -> None:
    plain, other = student(), student()
    fast = CompiledStudent(other)
    for _ in range(2):
        expected, found = plain.extract(IMAGES, NAMES), fast.extract(IMAGES, NAMES)
        assert found.keys() == set(NAMES)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(gradients(other, found), gradients(plain, expected))
    assert fast.compiled
    torch.testing.assert_close(state_of(other), state_of(plain))


def test_partial_batches_run_uncompiled() -> None:
    model = student()
    fast = CompiledStudent(model)
    fast.extract(IMAGES, NAMES)
    torch.testing.assert_close(fast.extract(IMAGES[:4], NAMES), student().extract(IMAGES[:4], NAMES), rtol=0, atol=0)


def times(factor: float) -> Any:
    """A backend whose programs return other numbers."""

    def backend(graph: Any, inputs: Any) -> Any:
        return lambda *values: tuple(factor * value for value in graph(*values))

    return backend


def failing(graph: Any, inputs: Any) -> Any:
    raise RuntimeError("no compiler here")


@pytest.mark.parametrize("backend", [times(1.001), times(float("nan")), failing])
def test_a_wrong_or_failing_program_is_not_used(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "BACKEND", backend)
    model = student()
    before, draws = state_of(model), torch.get_rng_state()
    assert compiled_training(model, IMAGES, NAMES) is None
    assert same(state_of(model), before)
    assert torch.equal(torch.get_rng_state(), draws)
    fast = CompiledStudent(model)
    torch.testing.assert_close(fast.extract(IMAGES, NAMES), student().extract(IMAGES, NAMES), rtol=0, atol=0)
    assert not fast.compiled


class WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return 2 * gradients[0]


def test_gradients_are_compared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_wrongly(function: Any, **_: Any) -> Any:
        return lambda x: tuple(WrongGradient.apply(value) for value in function(x))

    assert compiled_training(student(), IMAGES, NAMES) is not None
    monkeypatch.setattr(torch, "compile", compile_wrongly)
    assert compiled_training(student(), IMAGES, NAMES) is None
