"""Sums of softplus against torch.nn.functional.softplus, term by term."""

import pytest
import torch
import torch.nn.functional as F

from smskd.ops.nce import softplus_sum


@pytest.mark.parametrize("width", [1, 15, 16, 33, 400])
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0, 1000.0])
def test_value_and_gradient_are_those_of_the_terms(width: int, scale: float) -> None:
    x = scale * torch.randn(3, width, generator=torch.Generator().manual_seed(width), dtype=torch.float64)
    ours, terms = x.clone().requires_grad_(), x.clone().requires_grad_()
    sums, expected = softplus_sum(ours), F.softplus(terms, threshold=700).sum(1)
    torch.testing.assert_close(sums, expected, rtol=1e-13, atol=0)
    weights = torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64)
    (weights * sums).sum().backward()
    (weights * expected).sum().backward()
    torch.testing.assert_close(ours.grad, terms.grad, rtol=1e-12, atol=1e-200)


def test_small_terms_do_not_vanish_in_single_precision() -> None:
    x = torch.full((2, 64), -25.0)
    expected = 64 * torch.tensor(-25.0, dtype=torch.float64).exp().log1p()
    torch.testing.assert_close(softplus_sum(x).double(), expected.expand(2), rtol=1e-5, atol=0)


def test_large_terms_do_not_overflow() -> None:
    assert float(softplus_sum(torch.full((1, 32), 1e4))) == 32e4
    assert float(softplus_sum(torch.zeros(1, 32))) == pytest.approx(32 * 0.6931472, rel=1e-6)
