"""Right singular vectors: the gradient is that of torch.linalg.svd where that one is good, and none where it is not."""

import pytest
import torch
from torch import Tensor

from smskd.ops.svd import right_singular_vectors

DTYPES = [torch.float32, torch.float64]


def _gradient(matrices: Tensor, rank: int, weights: Tensor) -> Tensor:
    x = matrices.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((right_singular_vectors(x, rank)[0] * weights).sum(), x)
    return gradient


@pytest.mark.parametrize(("rows", "columns"), [(9, 4), (5, 5), (3, 7), (1, 6), (6, 1)])
@pytest.mark.parametrize("rank", [1, 3])
def test_values_and_gradient_are_those_of_the_decomposition(rows: int, columns: int, rank: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, rows, columns, dtype=torch.float64, requires_grad=True)
    vectors, values = right_singular_vectors(x, rank)
    _, expected_values, transposed = torch.linalg.svd(x, full_matrices=False)
    expected = transposed.transpose(1, 2)[..., :rank]
    torch.testing.assert_close(vectors, expected)
    torch.testing.assert_close(values, expected_values[:, :rank])
    assert not values.requires_grad
    weights = torch.randn_like(expected)
    ours, theirs = (torch.autograd.grad((v * weights).sum(), x, retain_graph=True)[0] for v in (vectors, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "columns"), [(64, 6), (6, 64)])
def test_coinciding_values_give_no_gradient_along_their_difference(rows: int, columns: int, dtype: torch.dtype) -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        left, right = (torch.linalg.qr(torch.randn(3, size, 6, dtype=torch.float64))[0] for size in (rows, columns))
        values = torch.tensor([10.0, 10.0, 5.0, 5.0, 0.0, 0.0], dtype=torch.float64)
        x = ((left * values) @ right.transpose(1, 2)).to(dtype)
        gradient = _gradient(x, 4, torch.randn(3, columns, 4, dtype=dtype))
        assert torch.isfinite(gradient).all()
        assert 0 < gradient.abs().max() < 10


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_matrix_of_zeros_has_no_gradient_and_does_not_touch_its_neighbours(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, weights = torch.randn(3, 5, 4, dtype=dtype), torch.randn(3, 4, 2, dtype=dtype)
    alone = _gradient(x[1:], 2, weights[1:])
    x[0] = 0
    gradient = _gradient(x, 2, weights)
    assert torch.equal(gradient[0], torch.zeros(5, 4, dtype=dtype))
    torch.testing.assert_close(gradient[1:], alone)
