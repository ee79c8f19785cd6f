"""Inputs at which published code gives NaN, infinity or gradients of 1e10: zeros, equal rows, overflow."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from smskd.methods.at import at_loss
from smskd.methods.crd import CRD, ContrastMemory, crd_loss
from smskd.methods.kd import kd_loss
from smskd.methods.pkt import pkt_loss
from smskd.methods.rkd import rkd_loss
from smskd.methods.sp import sp_loss
from smskd.methods.vid import vid_loss
from smskd.testing.expect import total
from tests.support.method_inputs import build, feature_inputs

DTYPES = [torch.float32, torch.float64]
SANE = 1e4


def _rkd(student: Tensor, teacher: Tensor) -> Tensor:
    return sum(rkd_loss(student, teacher, 25.0, 50.0), start=torch.zeros(()))


RELATIONS = {"rkd": _rkd, "sp": sp_loss, "pkt": pkt_loss}


def _gradient(loss: Callable[[Tensor, Tensor], Tensor], student: Tensor, teacher: Tensor) -> Tensor:
    x = student.clone().requires_grad_()
    value = loss(x, teacher)
    assert torch.isfinite(value)
    (gradient,) = torch.autograd.grad(value, x)
    assert torch.isfinite(gradient).all()
    return gradient


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", RELATIONS)
@pytest.mark.parametrize("case", ["zero row", "all zero", "two coincide", "all coincide", "opposite"])
def test_relations_stay_sane(name: str, case: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(6, 10, dtype=dtype), torch.randn(6, 7, dtype=dtype)
    match case:
        case "zero row":
            student[2] = 0
        case "all zero":
            student.zero_()
        case "two coincide":
            student[4] = student[1]
        case "all coincide":
            student[:] = student[0]
        case "opposite":
            student[1::2] = -student[::2]
    assert _gradient(RELATIONS[name], student, teacher).abs().max() < SANE


@pytest.mark.parametrize("name", RELATIONS)
def test_a_teacher_of_zeros_gives_finite_gradients(name: str) -> None:
    torch.manual_seed(0)
    assert _gradient(RELATIONS[name], torch.randn(6, 10), torch.zeros(6, 7)).abs().max() < SANE


@pytest.mark.parametrize("name", RELATIONS)
def test_away_from_the_traps_the_gradient_is_the_one_of_finite_differences(name: str) -> None:
    torch.manual_seed(1)
    student, teacher = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: RELATIONS[name](x, teacher), student.requires_grad_())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("power", [1, 2])
def test_at_survives_a_map_without_activation(power: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    student, teacher = torch.rand(4, 3, 4, 4, dtype=dtype), torch.rand(4, 5, 4, 4, dtype=dtype)
    student[1] = 0
    gradient = _gradient(lambda s, t: at_loss(s, t, power), student, teacher)
    assert gradient.abs().max() < SANE
    assert gradient[0].abs().max() > 0


@pytest.mark.parametrize("log_scale", [-200.0, 0.0, 88.8, 200.0, 1000.0])
def test_vid_does_not_overflow(log_scale: float) -> None:
    torch.manual_seed(0)
    scale = torch.full((3,), log_scale, requires_grad=True)
    prediction, teacher = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    loss = vid_loss(prediction, teacher, scale, 1e-5)
    loss.backward()
    variance = max(log_scale, 0) + math.log1p(math.exp(-abs(log_scale))) + 1e-5
    expected = 0.5 * (float((prediction - teacher).double().square().mean()) / variance + math.log(variance))
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    assert scale.grad is not None
    assert torch.isfinite(scale.grad).all()


@pytest.mark.parametrize("temperature", [0.07, 0.02])
def test_crd_survives_an_embedding_of_zero_and_low_temperatures(temperature: float) -> None:
    torch.manual_seed(0)
    embedding = torch.nn.functional.normalize(torch.randn(4, 8), dim=1)
    embedding[1] = 0
    memory = torch.nn.functional.normalize(torch.randn(30, 8), dim=1)
    drawn = torch.randint(30, (4, 9))
    gradient = _gradient(lambda v, m: crd_loss(v, m, drawn, temperature)[0], embedding, memory)
    assert gradient.abs().max() < SANE


def test_kd_survives_logits_that_differ_by_a_thousand() -> None:
    student = torch.tensor([[1000.0, 0.0, -1000.0]])
    gradient = _gradient(lambda s, t: kd_loss(s, t, 1.0), student, -student)
    assert gradient.abs().max() <= 1


def test_crd_survives_a_feature_that_is_embedded_as_zero() -> None:
    torch.manual_seed(0)
    method = CRD(feature_dim=8, negatives=6)
    state = build(method)
    assert isinstance(state, ContrastMemory)
    for layer in (state.embed_student, state.embed_teacher):
        torch.nn.init.zeros_(layer.bias)
    feature = torch.randn(4, 12)
    feature[2] = 0
    feature.requires_grad_()
    total(method.loss(feature_inputs([feature], [torch.zeros(4, 16)]), state)).backward()
    assert feature.grad is not None
    assert feature.grad.abs().max() < SANE
    assert all(torch.isfinite(value).all() for value in state.state_dict().values())
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in state.parameters())


def test_opposite_vectors_whose_cosine_is_rounded_below_minus_one() -> None:
    """The similarity then is a little below zero, and its logarithm NaN unless it is clamped."""
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        row = 100 * torch.randn(1, 512, generator=generator)
        assert torch.isfinite(pkt_loss(torch.cat([row, -row]), torch.randn(2, 5, generator=generator)))
