"""CC, NST and KDSVD against their formulas written out, degenerate inputs, refusals."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from smskd.errors import UserError
from smskd.interfaces.features import FeatureLayout, Shape
from smskd.methods.cc import CC, cc_loss
from smskd.methods.kdsvd import KDSVD
from smskd.methods.nst import NST, nst_loss
from smskd.registry import METHODS
from tests.support.method_inputs import MLP, STUDENT, TEACHER, build, read_names

DEFAULTS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "defaults.json").read_text())


DTYPES = [torch.float32, torch.float64]


SANE = 1e4


def _maps(*shapes: Shape, samples: int = 4, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    return tuple(torch.randn(samples, *shape, dtype=dtype) for shape in shapes)


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
