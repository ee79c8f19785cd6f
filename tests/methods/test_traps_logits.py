"""Logits at which published code gives NaN, infinity or gradients of 1e6: huge ones, and ones that are all equal."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from smskd.methods.dist import dist_loss
from smskd.methods.dkd import dkd_loss
from smskd.methods.lskd import lskd_dkd_loss, lskd_loss
from smskd.methods.mlkd import mlkd_loss
from smskd.methods.nkd import nkd_loss
from smskd.ops.divergences import other_classes, standardize
from smskd.ops.geometry import correlation

DTYPES = [torch.float32, torch.float64]
SANE = 1e4
Y = torch.tensor([0, 3, 2, 1, 4, 0])


def _total(parts: tuple[Tensor, ...]) -> Tensor:
    return torch.stack(parts).sum()


def _mlkd(student: Tensor, teacher: Tensor, standardize: bool) -> Tensor:
    parts = mlkd_loss((student, student.flip(0)), (teacher, teacher.flip(0)), 4.0, standardize)
    return _total(tuple(parts.values()))


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "dkd": lambda s, t: _total(dkd_loss(s, t, Y[: len(s)], 1.0, 8.0, 1.0)),
    "nkd": lambda s, t: _total(nkd_loss(s, t, Y[: len(s)], 1.5, 1.0)),
    "dist": lambda s, t: _total(dist_loss(s, t, 1.0, 1.0, 1.0)),
    "dist tau 4": lambda s, t: _total(dist_loss(s, t, 1.0, 1.0, 4.0)),
    "lskd": lambda s, t: lskd_loss(s, t, 2.0),
    "lskd dkd": lambda s, t: _total(lskd_dkd_loss(s, t, Y[: len(s)], 1.0, 8.0, 2.0)),
    "mlkd": lambda s, t: _mlkd(s, t, False),
    "mlkd standardised": lambda s, t: _mlkd(s, t, True),
}


@pytest.fixture(params=LOSSES)
def loss(request: pytest.FixtureRequest) -> Callable[[Tensor, Tensor], Tensor]:
    return LOSSES[request.param]


def _gradient(loss: Callable[[Tensor, Tensor], Tensor], student: Tensor, teacher: Tensor) -> Tensor:
    x = student.clone().requires_grad_()
    value = loss(x, teacher)
    assert torch.isfinite(value)
    (gradient,) = torch.autograd.grad(value, x)
    assert torch.isfinite(gradient).all()
    return gradient


def _logits(dtype: torch.dtype, seed: int) -> Tensor:
    return torch.randn(6, 5, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1e2, 1e3, 1e4])
def test_huge_logits(loss: Callable[[Tensor, Tensor], Tensor], scale: float, dtype: torch.dtype) -> None:
    student, teacher = scale * _logits(dtype, 0), scale * _logits(dtype, 1)
    assert _gradient(loss, student, teacher).abs().max() < SANE
    assert _gradient(loss, student, -student).abs().max() < SANE


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0.0, 3.3, -1000.1])
@pytest.mark.parametrize("equal", ["one sample", "all samples", "samples of the batch"])
def test_logits_that_are_all_equal(
    loss: Callable[[Tensor, Tensor], Tensor], equal: str, value: float, dtype: torch.dtype
) -> None:
    student, teacher = _logits(dtype, 0), _logits(dtype, 1)
    match equal:
        case "one sample":
            student[2] = value
        case "all samples":
            student[:] = value
        case "samples of the batch":
            student[:] = student[0] + value
    assert _gradient(loss, student, teacher).abs().max() < SANE
    assert torch.isfinite(loss(teacher, student))
    assert _gradient(loss, teacher, student).abs().max() < SANE


def test_logits_alike_but_for_rounding() -> None:
    noise = 1 + 1e-7 * _logits(torch.float32, 3)
    for value in (1.0, 37.0):
        for name in ("dist", "lskd", "lskd dkd", "mlkd standardised"):
            assert _gradient(LOSSES[name], value * noise, _logits(torch.float32, 1)).abs().max() < SANE, name


def test_a_single_sample(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert _gradient(loss, _logits(torch.float32, 0)[:1], _logits(torch.float32, 1)[:1]).abs().max() < SANE


def test_away_from_the_traps_the_gradient_is_the_one_of_finite_differences(
    loss: Callable[[Tensor, Tensor], Tensor],
) -> None:
    student, teacher = _logits(torch.float64, 0), _logits(torch.float64, 1)
    assert torch.autograd.gradcheck(lambda x: loss(x, teacher), student.requires_grad_())


@pytest.mark.parametrize("own", [300.0, 1100.0, 1e4])
def test_the_own_class_does_not_come_back_however_large_its_logit(own: float) -> None:
    """Published code subtracts 1000 from it, which a larger logit makes up for."""
    student, teacher = _logits(torch.float64, 0), _logits(torch.float64, 1)
    expected = dkd_loss(student, teacher, Y, 1.0, 1.0, 1.0)[1]
    for logits in (student, teacher):
        logits[torch.arange(6), Y] = own
    student.requires_grad_()
    rest = dkd_loss(student, teacher, Y, 1.0, 1.0, 1.0)[1]
    assert float(rest.detach()) == pytest.approx(float(expected), rel=1e-12)
    (gradient,) = torch.autograd.grad(rest, student)
    assert (gradient[torch.arange(6), Y] == 0).all()


def test_a_probability_that_is_rounded_to_zero_still_counts() -> None:
    """The teacher is sure of the class, the student's probability of it is exp(-2000): the loss is 2000."""
    student, teacher = torch.zeros(1, 3), torch.zeros(1, 3)
    student[0, 0], teacher[0, 0] = -2000.0, 2000.0
    own, _ = dkd_loss(student, teacher, torch.tensor([0]), 1.0, 1.0, 1.0)
    assert float(own) == pytest.approx(2000.0, rel=1e-3)


def test_equal_values_have_neither_correlation_nor_gradient() -> None:
    x = torch.tensor([[1.0, 2.0, 4.0], [0.1, 0.1, 0.1]], requires_grad=True)
    result = correlation(x, torch.tensor([[2.0, 4.0, 8.0], [1.0, 2.0, 3.0]]), dim=1)
    assert result.tolist() == pytest.approx([1.0, 0.0])
    (gradient,) = torch.autograd.grad(result.sum(), x)
    assert gradient[1].tolist() == [0, 0, 0]


def test_standardised_logits() -> None:
    x = torch.tensor([[1.0, 2.0, 6.0], [3.3, 3.3, 3.3]], dtype=torch.float64, requires_grad=True)
    z = standardize(x)
    assert z[0].mean().item() == pytest.approx(0, abs=1e-12)
    assert z[0].std().item() == pytest.approx(1, rel=1e-6)
    assert z[1].tolist() == [0, 0, 0]
    (gradient,) = torch.autograd.grad(z.square().sum() + z[:, 0].sum(), x)
    assert gradient[0].abs().max() > 0
    assert gradient[1].tolist() == [0, 0, 0]


def test_the_other_classes() -> None:
    logits = torch.arange(12.0).view(3, 4)
    assert other_classes(logits, torch.tensor([0, 2, 3])).tolist() == [[1, 2, 3], [4, 5, 7], [8, 9, 10]]
