"""CC, NST and KDSVD against their formulas written out, degenerate inputs, refusals."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.features import FeatureLayout, ModelInfo, Shape
from smskd.methods.cc import CC, cc_loss
from smskd.methods.kdsvd import KDSVD
from smskd.methods.nst import NST, nst_loss
from smskd.registry import METHODS
from smskd.testing.expect import total
from smskd.testing.inputs import DATA
from tests.support.method_inputs import MLP, STUDENT, TEACHER, build, feature_inputs, read_names

DEFAULTS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "defaults.json").read_text())
DTYPES = [torch.float32, torch.float64]
SANE = 1e4


def _maps(*shapes: Shape, samples: int = 4, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    return tuple(torch.randn(samples, *shape, dtype=dtype) for shape in shapes)


def _kdsvd(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], method: KDSVD) -> Tensor:
    return total(method.loss(feature_inputs(student, teacher), nn.Module()))


def test_the_defaults_are_the_published_ones() -> None:
    assert CC().feature_dim == DEFAULTS["cc"]["hyperparameters"]["feat_dim"]
    assert KDSVD().rank == DEFAULTS["kdsvd"]["hyperparameters"]["k"]


def test_cc_by_hand() -> None:
    student, teacher = torch.tensor([[1.0, 0.0], [0.0, 2.0], [5.0, 1.0]]), torch.tensor([[0.0, 3.0]]).expand(3, 2)
    # The differences are (1, 3), (0, 1), (5, 2).
    assert float(cc_loss(student, teacher)) == (3 + 2) / 2


def test_cc_of_a_single_sample_is_zero_and_keeps_the_graph() -> None:
    x = torch.randn(1, 5, requires_grad=True)
    loss = cc_loss(x, torch.randn(1, 5))
    loss.backward()
    assert float(loss.detach()) == 0
    assert x.grad is not None
    assert torch.equal(x.grad, torch.zeros(1, 5))


def test_cc_trains_both_embeddings() -> None:
    state = build(CC(feature_dim=7))
    assert {name: tuple(p.shape) for name, p in state.named_parameters()} == {
        "embed_student.weight": (7, 12),
        "embed_student.bias": (7,),
        "embed_teacher.weight": (7, 16),
        "embed_teacher.bias": (7,),
    }
    assert all(p.requires_grad for p in state.parameters())


def _nst_written_out(student: Tensor, teacher: Tensor) -> Tensor:
    size = min(student.shape[2], teacher.shape[2])
    s, t = (F.normalize(F.adaptive_avg_pool2d(x, size).flatten(2), dim=2) for x in (student, teacher))

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x.unsqueeze(2) * y.unsqueeze(1)).sum(3).square().mean()

    return kernel(t, t) + kernel(s, s) - 2 * kernel(s, t)


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        ((3, 6, 6), (5, 6, 6)),  # all three means over channels
        ((20, 2, 2), (30, 2, 2)),  # all three over positions
        ((3, 3, 3), (40, 3, 3)),  # some each way
        ((6, 8, 8), (7, 3, 3)),
        ((6, 5, 5), (7, 8, 8)),
        ((4, 1, 1), (5, 1, 1)),
    ],
)
def test_nst_is_its_formula_whichever_way_it_is_computed(student: Shape, teacher: Shape) -> None:
    torch.manual_seed(0)
    (x, y) = _maps(student, teacher)
    x.requires_grad_()
    ours, expected = nst_loss(x, y), _nst_written_out(x, y)
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-13)
    gradients = [torch.autograd.grad(loss, x)[0] for loss in (ours, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tiny", [0.0, 1e-30])
def test_nst_survives_channels_without_activation(tiny: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, y = _maps((6, 4, 4), (5, 4, 4), dtype=dtype)
    x[:, 2] = tiny
    x[1] = 0
    y[0] = 0
    x.requires_grad_()
    nst_loss(x, y).backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert x.grad[:, 2].abs().max() == 0
    assert 0 < x.grad.abs().max() < SANE


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


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("cc", {"feature_dim": 0}, "feature_dim must be a whole number of 1 or more, not 0"),
        ("kdsvd", {"rank": 0}, "rank must be a whole number of 1 or more, not 0"),
        ("kdsvd", {"matrix": "columns"}, "matrix must be positions or rows, not columns"),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        METHODS.find(name)(**fields)
    assert str(caught.value) == message


@pytest.mark.parametrize("method", [NST(), KDSVD()])
def test_models_without_maps_are_refused(method: NST | KDSVD) -> None:
    for pair, side in (((MLP, TEACHER), "student"), ((STUDENT, MLP), "teacher")):
        with pytest.raises(UserError, match=f"compares feature maps, and the {side} has none"):
            read_names(method, *pair)


def test_cc_needs_a_vector() -> None:
    with pytest.raises(UserError, match="CC reads the pooled vector, and the student has none"):
        read_names(CC(), FeatureLayout({"stage1": (3, 4, 4)}, 5))


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
