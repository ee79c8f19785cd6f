"""The diagonal Fisher information against closed forms and plain loops in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from smskd.anchors import _fisher
from smskd.anchors._fisher import diagonal_fisher
from smskd.errors import UserError
from smskd.interfaces.batch import Batch

ESTIMATORS = ("exact", "sampled", "empirical", "batched")
CLASSES = 3


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randomised(model: nn.Module, seed: int = 1) -> nn.Module:
    """In float64 and eval mode, with weights and statistics that differ from the initial ones."""
    model = model.double().eval()
    draws = generator(seed)
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if tensor.is_floating_point():
                values = torch.randn(tensor.shape, generator=draws, dtype=tensor.dtype)
                tensor.copy_(values.abs() if name.endswith("var") else 0.4 * values)
    return model


def logistic_regression() -> nn.Module:
    return randomised(nn.Sequential(nn.Flatten(), nn.Linear(4, CLASSES)))


def convolutional() -> nn.Module:
    layers = (nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(3, CLASSES))
    return randomised(nn.Sequential(*layers))


def batches(*sizes: int, seed: int = 2) -> list[Batch]:
    draws = generator(seed)
    return [
        Batch(
            torch.randn(size, 1, 2, 2, generator=draws, dtype=torch.float64),
            torch.randint(CLASSES, (size,), generator=draws),
        )
        for size in sizes
    ]


def joined(made: list[Batch]) -> tuple[Tensor, Tensor]:
    return torch.cat([batch.x for batch in made]), torch.cat([batch.y for batch in made])


def close(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-10) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=tolerance, atol=1e-14)


def score(model: nn.Module, image: Tensor, label: int) -> dict[str, Tensor]:
    """Gradient of log p(label | image), by plain autograd."""
    value = model(image[None]).log_softmax(1)[0, label]
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(value, parameters), strict=True))


def slow(model: nn.Module, made: list[Batch], estimator: str) -> dict[str, Tensor]:
    total = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    images, labels = joined(made)
    for image, label in zip(images, labels.tolist(), strict=True):
        probabilities = model(image[None]).softmax(1)[0].tolist()
        chosen = range(CLASSES) if estimator == "exact" else [label]
        for c in chosen:
            factor = probabilities[c] if estimator == "exact" else 1.0
            for name, gradient in score(model, image, c).items():
                total[name] += factor * gradient**2
    return {name: value / len(images) for name, value in total.items()}


class TestLogisticRegression:
    def test_exact_is_the_variance_of_the_predicted_class_times_the_squared_input(self) -> None:
        model, made = logistic_regression(), batches(4, 3)
        x = joined(made)[0].flatten(1)
        p = model(joined(made)[0]).softmax(1).detach()
        variance = p * (1 - p)
        expected = {"1.weight": variance.T @ x**2 / len(x), "1.bias": variance.mean(0)}
        close(diagonal_fisher(model, made), expected)

    def test_empirical_is_the_squared_residual_times_the_squared_input(self) -> None:
        model, made = logistic_regression(), batches(4, 3)
        images, labels = joined(made)
        x = images.flatten(1)
        residual = torch.eye(CLASSES, dtype=torch.float64)[labels] - model(images).softmax(1).detach()
        expected = {"1.weight": (residual**2).T @ x**2 / len(x), "1.bias": (residual**2).mean(0)}
        close(diagonal_fisher(model, made, estimator="empirical"), expected)

    @pytest.mark.parametrize(("estimator", "sizes"), [("sampled", (10_000,)), ("batched", (4,) * 1500)])
    def test_drawn_labels_give_an_unbiased_estimate(self, estimator: Any, sizes: tuple[int, ...]) -> None:
        model, (few,) = logistic_regression(), batches(4)
        many = [Batch(few.x.repeat(size // 4, 1, 1, 1), few.y.repeat(size // 4)) for size in sizes]
        exact = diagonal_fisher(model, [few])
        close(diagonal_fisher(model, many, estimator=estimator), exact, tolerance=0.1)

    def test_batched_squares_the_gradient_of_the_batch_for_the_labels_that_sampled_draws(self) -> None:
        model, (few,) = logistic_regression(), batches(1)
        one = [few]
        close(diagonal_fisher(model, one, estimator="batched"), diagonal_fisher(model, one, estimator="sampled"))


class Branching(nn.Module):
    """A forward pass that depends on the values of its input, which vmap refuses."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body(x)
        return logits if float(x.sum().detach()) > -1e9 else -logits


class _Doubled(torch.autograd.Function):
    """Without ``setup_context``, which torch.func needs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient


class CustomFunction(Branching):
    def forward(self, x: Tensor) -> Tensor:
        doubled: Tensor = _Doubled.apply(self.body(x))
        return doubled / 2


@pytest.mark.parametrize("estimator", ["exact", "empirical"])
class TestNetworks:
    def test_equals_the_plain_loop(self, estimator: Any) -> None:
        model, made = convolutional(), batches(4, 3)
        close(diagonal_fisher(model, made, estimator=estimator), slow(model, made, estimator))

    @pytest.mark.parametrize("wrap", [Branching, CustomFunction])
    def test_networks_that_cannot_be_vectorised_give_the_same(
        self, estimator: Any, wrap: Callable[[nn.Module], nn.Module]
    ) -> None:
        made, model = batches(4, 3), convolutional()
        expected = diagonal_fisher(model, made, estimator=estimator)
        found = diagonal_fisher(wrap(model), made, estimator=estimator)
        close({name.removeprefix("body."): value for name, value in found.items()}, expected)

    def test_chunks_of_a_batch_add_up(self, estimator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        model, made = convolutional(), batches(7)
        whole = diagonal_fisher(model, made, estimator=estimator)
        monkeypatch.setattr(_fisher, "_CHUNK", 2 * sum(parameter.numel() for parameter in model.parameters()))
        close(diagonal_fisher(model, made, estimator=estimator), whole)


def test_frozen_parameters_are_estimated_too() -> None:
    made = batches(4)
    expected = diagonal_fisher(convolutional(), made)
    close(diagonal_fisher(convolutional().requires_grad_(False), made), expected)


def test_parameters_that_the_logits_do_not_depend_on_have_none() -> None:
    model = logistic_regression()
    model.register_parameter("unused", nn.Parameter(torch.ones(2, dtype=torch.float64)))
    for wrapped in (model, Branching(model)):
        found = diagonal_fisher(wrapped, batches(3))
        assert [float(value.abs().max()) for name, value in found.items() if name.endswith("unused")] == [0.0]


@pytest.mark.parametrize("samples", [1, 4, 6])
def test_takes_the_first_samples(samples: int) -> None:
    model, made = convolutional(), batches(4, 3, 2)
    images, labels = joined(made)
    expected = diagonal_fisher(model, [Batch(images[:samples], labels[:samples])])
    close(diagonal_fisher(model, iter(made), samples=samples), expected)


def test_reads_no_more_batches_than_it_needs() -> None:
    source = iter(batches(4, 3, 2))
    diagonal_fisher(logistic_regression(), source, samples=7)
    assert len(list(source)) == 1


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_leaves_no_trace_and_works_without_gradients_around_it(estimator: Any) -> None:
    model, made = convolutional(), batches(4, 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random_state = torch.get_rng_state()
    with torch.no_grad():
        first = diagonal_fisher(model, made, estimator=estimator)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    second = diagonal_fisher(model, made, estimator=estimator)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(value.requires_grad for value in first.values())


def test_without_samples() -> None:
    with pytest.raises(UserError, match="the Fisher information needs at least one sample"):
        diagonal_fisher(logistic_regression(), [])
