"""DKD, NKD, DIST, LSKD and MLKD: defaults, warm-up, soft labels, pixels, bases, views."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from smskd import data
from smskd.config.data import SubsetConfig
from smskd.data import MemoryLoader
from smskd.errors import UserError
from smskd.interfaces.batch import Batch, Progress
from smskd.interfaces.terms import Method
from smskd.methods.dist import DIST, dist_loss
from smskd.methods.dkd import DKD
from smskd.methods.kd import KD
from smskd.methods.lskd import LSKD
from smskd.methods.mlkd import MLKD, mlkd_loss
from smskd.methods.nkd import NKD, nkd_loss
from smskd.objective import build_objective
from smskd.ops.divergences import softened_kl
from smskd.registry import METHODS
from tests.support.method_inputs import logit_inputs

DEFAULTS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "defaults.json").read_text())
Y = torch.tensor([0, 3, 2, 1])


def logits(seed: int, *shape: int) -> Tensor:
    return torch.randn(*(shape or (4, 5)), generator=torch.Generator().manual_seed(seed))


def parts(method: Method, epoch: int = 1, y: Tensor = Y) -> dict[str, Tensor]:
    inputs = logit_inputs(logits(0), logits(1), y, Progress(epoch, 100))
    return {name: part.mean() for name, part in method.loss(inputs, nn.Module()).items()}


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("dkd", {"alpha": "alpha", "beta": "beta", "temperature": "T", "warmup": "warmup"}),
        ("nkd", {"temperature": "temp", "gamma": "gamma"}),
        ("dist", {"beta": "beta", "gamma": "gamma", "temperature": "tau"}),
        ("lskd", {"temperature": "T"}),
        ("mlkd", {"temperature": "T"}),
    ],
)
def test_the_defaults_are_the_published_ones(name: str, published: dict[str, str]) -> None:
    method = METHODS.find(name)()
    values = DEFAULTS[name]["hyperparameters"]
    assert {field: getattr(method, field) for field in published} == {
        field: values[key] for field, key in published.items()
    }


def test_the_weights_are_the_published_ones() -> None:
    weights = {name: DEFAULTS[name]["weights"] for name in ("dkd", "nkd", "dist", "lskd", "mlkd")}
    assert DKD.published_ce_weight == weights["dkd"]["mdistiller"]["ce"]
    assert (NKD.published_ce_weight, NKD.published_weight) == tuple(weights["nkd"]["cls_kd"].values())
    assert (DIST.published_ce_weight, DIST.published_weight) == tuple(weights["dist"]["classification"].values())
    assert (LSKD.published_ce_weight, LSKD.published_weight) == (weights["lskd"]["ce"], weights["lskd"]["kd"])
    assert (MLKD.published_ce_weight, MLKD.published_weight) == (weights["mlkd"]["ce"], weights["mlkd"]["kd"])


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("dkd", {"alpha": -1}, "alpha must be 0 or more, not -1"),
        ("dkd", {"temperature": 0}, "temperature must be positive, not 0"),
        ("dkd", {"warmup": 0}, "warmup must be a whole number of 1 or more, not 0"),
        ("nkd", {"gamma": -0.5}, "gamma must be 0 or more, not -0.5"),
        ("nkd", {"temperature": -3}, "temperature must be positive, not -3"),
        ("dist", {"beta": 0, "gamma": 0}, "beta and gamma must not both be 0"),
        ("dist", {"gamma": -1}, "gamma must be 0 or more, not -1"),
        ("dist", {"temperature": 0}, "temperature must be positive, not 0"),
        ("lskd", {"base": "nkd"}, "base must be kd or dkd, not nkd"),
        ("lskd", {"temperature": 0}, "temperature must be positive, not 0"),
        ("lskd", {"warmup": 2.5}, "warmup must be a whole number of 1 or more, not 2.5"),
        ("mlkd", {"temperature": 0}, "temperature must be positive, not 0"),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        METHODS.find(name)(**fields)
    assert str(caught.value) == message


@pytest.mark.parametrize("method", [DKD(), LSKD(base="dkd")])
def test_the_loss_rises_over_the_first_epochs_of_the_stage(method: DKD | LSKD) -> None:
    full = parts(replace(method, warmup=1))
    for epoch, share in ((1, 0.05), (5, 0.25), (20, 1.0), (21, 1.0), (90, 1.0)):
        assert {name: float(part / full[name]) for name, part in parts(method, epoch).items()} == pytest.approx(
            {"tckd": share, "nckd": share}, rel=1e-6
        )


def test_the_terms_of_dkd_make_up_kd() -> None:
    """Zhao et al., section 3.1: KD = TCKD + (the teacher's probability of the rest) * NCKD, for each sample."""
    temperature = 4.0
    for sample in range(4):
        student, teacher, y = logits(0)[[sample]].double(), logits(1)[[sample]].double(), Y[[sample]]
        rest = 1 - (teacher / temperature).softmax(1)[0, y[0]]
        method = DKD(alpha=1, beta=float(rest), temperature=temperature, warmup=1)
        inputs = logit_inputs(student, teacher, y)
        terms = method.loss(inputs, nn.Module())
        (whole,) = KD(temperature).loss(inputs, nn.Module()).values()
        assert float(sum(terms.values())) == pytest.approx(float(whole), rel=1e-5)


def test_of_class_probabilities_nkd_takes_the_most_probable() -> None:
    mixed = 0.7 * nn.functional.one_hot(Y, 5) + 0.3 * nn.functional.one_hot(Y.flip(0), 5)
    assert parts(NKD(), y=mixed) == parts(NKD())


def test_nkd_compares_the_other_classes_by_a_cross_entropy() -> None:
    same = nkd_loss(logits(0), logits(0), Y, 1.0, 1.0)[1]
    other = nkd_loss(logits(1), logits(0), Y, 1.0, 1.0)[1]
    assert 0 < float(same) < float(other)


def test_dist_takes_every_pixel_as_a_sample() -> None:
    student, teacher = logits(0, 2, 5, 3, 4), logits(1, 2, 5, 3, 4)
    flat = [z.permute(0, 2, 3, 1).reshape(-1, 5) for z in (student, teacher)]
    torch.testing.assert_close(dist_loss(student, teacher, 1.0, 2.0, 1.0), dist_loss(flat[0], flat[1], 1.0, 2.0, 1.0))


def test_dist_is_zero_where_probabilities_are_the_same_and_at_most_two_otherwise() -> None:
    assert [float(term) for term in dist_loss(logits(0), logits(0), 1.0, 1.0, 1.0)] == pytest.approx([0, 0], abs=1e-5)
    assert all(0 < float(term) <= 2 for term in dist_loss(logits(0), logits(1), 1.0, 1.0, 1.0))


def test_lskd_is_independent_of_the_scale_of_the_logits() -> None:
    student, teacher = logits(0).double(), logits(1).double()
    for method in (LSKD(), LSKD(base="dkd")):
        one = method.loss(logit_inputs(student, teacher, Y), nn.Module())
        other = method.loss(logit_inputs(7 * student - 3, teacher / 5, Y), nn.Module())
        assert one.keys() == other.keys()
        for name, part in one.items():
            torch.testing.assert_close(part, other[name], rtol=1e-5, atol=1e-7)


def test_the_published_weights_of_lskd_with_dkd() -> None:
    """alpha 9 and beta 72 are alpha 1 and beta 8, the defaults, with the published weight of 9."""
    multiplied = parts(LSKD(base="dkd", alpha=9, beta=72, warmup=1))
    weighted = parts(LSKD(base="dkd", warmup=1))
    for name, part in weighted.items():
        torch.testing.assert_close(LSKD.published_weight * part, multiplied[name])


def test_mlkd_counts_every_sample_and_class_where_the_teacher_is_equally_sure_of_all() -> None:
    weak, strong, uniform = logits(0), logits(2), torch.zeros(4, 5)
    terms = mlkd_loss((weak, strong), (uniform, uniform), 4.0)
    temperatures = (4.0, 3.0, 5.0, 2.0, 6.0)
    kd = [[float(softened_kl(z, uniform, t)) for t in temperatures] for z in (weak, strong)]
    assert float(terms["kd"]) == pytest.approx(sum(kd[0]) + sum(kd[0][3:]) + sum(kd[1][:3]), rel=1e-5)
    probabilities = [(weak / t).softmax(1) for t in temperatures]
    bc = sum(float((p @ p.T - 1 / 5).square().sum()) / 4 for p in probabilities)
    cc = sum(float((p.T @ p - 4 / 25).square().sum()) / 5 for p in probabilities)
    assert [float(terms["bc"]), float(terms["cc"])] == pytest.approx([bc, cc], rel=1e-5)


class TwoViews(nn.Module):
    """A linear classifier of images of four pixels."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.linear = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x.flatten(1))
        return y


def test_the_parts_of_mlkd_and_the_cross_entropies_of_both_views_are_the_published_objective() -> None:
    student, teacher = TwoViews(0), TwoViews(1)
    x, strong = logits(2, 4, 1, 2, 2), logits(3, 4, 1, 2, 2)
    objective = build_objective(student, teacher, methods=["mlkd"], example=x)
    assert objective.views == {"strong"}
    losses = objective(Batch(x, Y, views={"strong": strong}))
    raw = mlkd_loss((student(x), student(strong)), (teacher(x), teacher(strong)), 4.0)
    assert losses.parts.keys() == {"ce", "mlkd.kd", "mlkd.cc", "mlkd.bc"}
    torch.testing.assert_close(
        losses.parts["ce"], 0.1 * (cross_entropy(student(x), Y) + cross_entropy(student(strong), Y))
    )
    for name, part in raw.items():
        torch.testing.assert_close(losses.parts[f"mlkd.{name}"], 0.9 * part)
    losses.total.backward()
    assert student.linear.weight.grad is not None
    assert student.linear.weight.grad.abs().max() > 0


def test_mlkd_without_a_strong_view_is_refused() -> None:
    x = logits(2, 4, 1, 2, 2)
    objective = build_objective(TwoViews(0), TwoViews(1), methods=["mlkd"], example=x)
    with pytest.raises(UserError, match="reads the view 'strong' of the images"):
        objective((x, Y))


def test_mlkd_trains_with_the_views_of_a_loader() -> None:
    digits = data.load("digits", subset=SubsetConfig(train=8, test=4)).train
    torch.manual_seed(0)
    student, teacher = (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)) for _ in range(2))
    objective = build_objective(student, teacher, methods=["mlkd"], example=torch.zeros(1, 1, 8, 8))
    (group,) = objective.parameter_groups()
    optimizer = torch.optim.SGD(group.parameters, lr=0.1)
    totals = []
    for _ in range(10):
        (batch,) = MemoryLoader(digits, 8).epoch(1, views=objective.views)
        losses = objective(batch)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        totals.append(float(losses.total.detach()))
    assert totals[-1] < totals[0]
