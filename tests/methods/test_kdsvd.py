"""KDSVD against its formula written out, degenerate inputs, refusals."""

from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.features import FeatureLayout, ModelInfo, Shape
from smskd.methods.kdsvd import KDSVD
from smskd.testing.expect import total
from smskd.testing.inputs import DATA
from tests.support.method_inputs import feature_inputs, read_names

DTYPES = [torch.float32, torch.float64]


SANE = 1e4


def _maps(*shapes: Shape, samples: int = 4, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    return tuple(torch.randn(samples, *shape, dtype=dtype) for shape in shapes)


def _kdsvd(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], method: KDSVD) -> Tensor:
    return total(method.loss(feature_inputs(student, teacher), nn.Module()))


def _kdsvd_written_out(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], rank: int) -> Tensor:
    """With the gradient of torch.linalg.svd, a sample and a vector at a time."""
    total = torch.zeros((), dtype=torch.float64)
    for sample in range(len(student[0])):
        own, other = [], []
        for s, t in zip(student, teacher, strict=True):
            _, values, target = torch.linalg.svd(t[sample].flatten(1).T, full_matrices=False)
            _, _, vectors = torch.linalg.svd(s[sample].flatten(1).T, full_matrices=False)
            values = F.normalize(values[:rank], dim=0)
            rows = []
            for wanted in target[:rank]:
                cosine = vectors[: rank + 3] @ wanted
                best = int(cosine.abs().argmax())
                rows.append(vectors[best] * cosine[best].sign())
            own.append(torch.stack(rows) * values[:, None])
            other.append(target[:rank] * values[:, None])
        for (s, s_next), (t, t_next) in zip(pairwise(own), pairwise(other), strict=True):
            kernels = [(-(a[:, :, None] - b[:, None, :]).square() / 8).exp() for a, b in ((s, s_next), (t, t_next))]
            total = total + (kernels[0] - kernels[1]).square().sum()
    return total / len(student[0])


@pytest.mark.parametrize("rank", [1, 2])
def test_kdsvd_is_its_formula(rank: int) -> None:
    torch.manual_seed(0)
    student = tuple(x.requires_grad_() for x in _maps((5, 4, 4), (7, 3, 3), (12, 2, 2)))
    teacher = _maps((5, 3, 3), (7, 4, 4), (12, 2, 2))
    ours = _kdsvd(student, teacher, KDSVD(rank=rank))
    expected = _kdsvd_written_out(student, teacher, rank)
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=0)
    for one, other in zip(torch.autograd.grad(ours, student), torch.autograd.grad(expected, student), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_kdsvd_of_rows_reads_channels_times_height_by_width() -> None:
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    assert torch.equal(KDSVD(matrix="rows").matrices(x)[1, 1 * 4 + 2], x[1, 1, 2].float())
    assert torch.equal(KDSVD().matrices(x)[1, 2 * 5 + 3], x[1, :, 2, 3])


def _trap(x: Tensor, case: str) -> None:
    match case:
        case "zero sample":
            x[1] = 0
        case "dead channels":
            x[:, 1:4] = 0
        case "equal channels":
            x[:] = x[:, :1]
        case "orthogonal channels of equal norm":
            x[:] = torch.linalg.qr(torch.randn(len(x), 16, x.shape[1]))[0].transpose(1, 2).reshape(x.shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("matrix", ["positions", "rows"])
@pytest.mark.parametrize(
    "case", ["zero sample", "dead channels", "equal channels", "orthogonal channels of equal norm"]
)
def test_kdsvd_survives_singular_values_that_coincide(case: str, matrix: Any, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    student, teacher = _maps((6, 4, 4), (6, 4, 4), dtype=dtype), _maps((6, 4, 4), (6, 4, 4), dtype=dtype)
    for x in (*student, teacher[0]):
        _trap(x, case)
    for x in student:
        x.requires_grad_()
    loss = _kdsvd(student, teacher, KDSVD(matrix=matrix))
    loss.backward()
    assert torch.isfinite(loss)
    for x in student:
        assert x.grad is not None
        assert x.grad.abs().max() < SANE


def test_kdsvd_needs_two_stages() -> None:
    single = FeatureLayout({"stage1": (3, 4, 4), "pooled": (3,)}, 5)
    with pytest.raises(UserError, match="KDSVD compares neighbouring stages, and the models have a single one"):
        read_names(KDSVD(), single, single)


@pytest.mark.parametrize(
    ("fields", "student", "teacher", "message"),
    [
        (
            {},
            ((4, 8, 8), (8, 4, 4)),
            ((4, 6, 6), (9, 4, 4)),
            "at level 2 the student's map has 8 and the teacher's 9; they must be equal",
        ),
        (
            {},
            ((4, 8, 8), (8, 4, 4)),
            ((6, 8, 8), (8, 4, 4)),
            "at level 1 the student's map has 4 and the teacher's 6; they must be equal, or set matrix: rows, which "
            "compares their widths",
        ),
        (
            {"matrix": "rows"},
            ((4, 8, 8), (8, 4, 4)),
            ((4, 8, 8), (8, 2, 2)),
            "at level 2 the student's map has 4 and the teacher's 2; they must be equal",
        ),
        (
            {"rank": 5},
            ((8, 8, 8), (8, 2, 2)),
            ((8, 8, 8), (8, 2, 2)),
            "rank 5 is too high: the teacher's map 8x2x2 at level 2 has no more than 4 singular vectors",
        ),
    ],
)
def test_kdsvd_refuses_what_does_not_fit(
    fields: dict[str, Any], student: tuple[Shape, ...], teacher: tuple[Shape, ...], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        KDSVD(**fields).build(ModelInfo(student, 5), ModelInfo(teacher, 5), DATA)
    assert str(caught.value).endswith(message)


def test_kdsvd_takes_a_student_with_fewer_vectors_than_the_rank() -> None:
    student, teacher = ((8, 1, 1), (8, 1, 1)), ((8, 2, 2), (8, 2, 2))
    method = KDSVD(rank=3)
    method.build(ModelInfo(student, 5), ModelInfo(teacher, 5), DATA)
    maps = tuple(x.requires_grad_() for x in _maps(*student))
    loss = _kdsvd(maps, _maps(*teacher), method)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(x.grad is not None and torch.isfinite(x.grad).all() for x in maps)
