"""The conflict of gradients, against plain autograd and by hand."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from smskd.diagnostics.gradients import Cosine, gradient_conflict, parameter_groups, trainable
from smskd.interfaces.batch import Batch
from smskd.models import describe
from tests.support import networks


def test_cosines_and_norms_are_those_of_plain_autograd() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    batches = [Batch(torch.randn(5, 3, dtype=torch.float64), torch.randint(2, (5,))) for _ in range(3)]

    def losses(batch: Batch) -> dict[str, torch.Tensor]:
        logits = net(batch.x)
        first = net[0](batch.x)
        return {"ce": F.cross_entropy(logits, batch.y), "hint": 0.3 * first.square().mean(), "zero": 0 * logits.sum()}

    parameters = trainable(net)
    found = gradient_conflict(losses, parameters, {"all": [0, 1, 2, 3], "first": [0, 1], "last": [2, 3]}, batches)

    def gradient(name: str, batch: Batch, places: list[int]) -> torch.Tensor:
        net.zero_grad(set_to_none=True)
        losses(batch)[name].backward()
        own = [parameters[place] for place in places]
        return torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in own])

    for group, places in {"all": [0, 1, 2, 3], "first": [0, 1]}.items():
        pairs = [(gradient("ce", batch, places), gradient("hint", batch, places)) for batch in batches]
        expected = torch.stack([F.cosine_similarity(ce, hint, dim=0) for ce, hint in pairs])
        cosine = found.pairs[0].cosines[group]
        assert found.pairs[0].parts == ("ce", "hint")
        assert (cosine.mean, cosine.deviation) == pytest.approx((float(expected.mean()), float(expected.std())))
        assert cosine.half_width == pytest.approx(4.302653 * float(expected.std()) / math.sqrt(3), rel=1e-6)
        assert found.norms["ce"][group] == pytest.approx(float(torch.stack([ce.norm() for ce, _ in pairs]).mean()))
    assert set(found.pairs[0].cosines) == {"all", "first"}  # the hint has no gradient in the last layer
    assert len(found.pairs) == 1  # nor has the part of zeros anywhere
    assert found.norms["hint"]["last"] == 0


def test_opposite_parts_fight_and_equal_ones_do_not() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))

    def losses(batch: Batch) -> dict[str, torch.Tensor]:
        pull = (weight * batch.x).sum()
        return {"one": pull, "same": 2 * pull, "against": -pull + 0.01 * weight.square().sum()}

    torch.manual_seed(0)
    batches = [Batch(torch.randn(2), torch.zeros(1)) for _ in range(4)]
    found = {pair.parts: pair for pair in gradient_conflict(losses, [weight], {"all": [0]}, batches).pairs}
    assert found["one", "same"].cosines["all"].mean == pytest.approx(1)
    assert not found["one", "same"].fights
    assert found["one", "against"].fights
    assert found["one", "against"].cosines["all"].mean == pytest.approx(-1, abs=1e-3)


@pytest.mark.parametrize(
    ("mean", "half_width", "negative"), [(-0.2, 0.1, True), (-0.2, 0.3, False), (-0.2, None, False)]
)
def test_a_conflict_is_more_than_noise(mean: float, half_width: float | None, negative: bool) -> None:
    assert Cosine(mean, None, half_width, 5).negative is negative


def test_a_single_batch_has_no_spread() -> None:
    weight = nn.Parameter(torch.ones(2))
    batch = Batch(torch.ones(2), torch.zeros(1))
    found = gradient_conflict(lambda b: {"a": weight.sum(), "b": -weight.sum()}, [weight], {"all": [0]}, [batch])
    assert (found.pairs[0].cosines["all"].deviation, found.pairs[0].fights) == (None, False)


def test_parameters_belong_to_the_stages_that_depend_on_them() -> None:
    model = networks.student()
    groups = parameter_groups(model, networks.images(), describe(model, networks.SHAPE).stages)
    names = [name for name, _ in model.named_parameters()]
    assert list(groups) == ["all", "stage1", "stage2", "stage3", "classifier"]
    assert groups["all"] == list(range(len(names)))
    assert sorted(place for group in list(groups)[1:] for place in groups[group]) == groups["all"]
    assert [names[place] for place in groups["classifier"]] == ["fc.weight", "fc.bias"]
    assert {names[place].split(".")[0] for place in groups["stage1"]} == {"conv1", "bn1", "layer1"}
    assert {names[place].split(".")[0] for place in groups["stage2"]} == {"layer2"}
