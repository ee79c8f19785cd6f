"""The weighted sum: its parts and weights, and what it refuses."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smskd.errors import UserError
from smskd.interfaces.features import FeatureLayout, Reads
from smskd.interfaces.terms import Kind, Method, TermInputs, WeightedMethod
from smskd.methods.fitnet import FitNet
from smskd.methods.kd import KD
from smskd.methods.mlkd import MLKD
from smskd.methods.sp import SP
from smskd.objective import build_objective
from smskd.objective.resolve_terms import published_ce_weight, weighted
from tests.support import tiny
from tests.support.objectives import SINGLE, batch, name_of, objective, trained


class TestOneStageWithoutAnchor:
    """It is the method alone: cross-entropy and the published loss, in a plain loop."""

    @pytest.mark.parametrize(("ce_weight", "weight"), [(0.1, 0.9), (1.0, 0.25), (0.0, 2.0)])
    def test_equals_a_hand_written_loop(self, ce_weight: float, weight: float) -> None:
        learner, plain, source = tiny.student().double(), tiny.student().double(), tiny.teacher().double()
        made = build_objective(
            learner,
            source,
            methods=[WeightedMethod("kd", KD(temperature=3.0), weight)],
            example=tiny.EXAMPLE.double(),
            ce_weight=ce_weight,
        )
        ours = torch.optim.SGD(trained(made), lr=0.05, momentum=0.9, weight_decay=5e-4)
        theirs = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
        made.train()
        plain.train()
        source.eval()
        for item in (*tiny.loader().epoch(1), *tiny.loader().epoch(2)):
            x = item.x.double()
            ours.zero_grad()
            made((x, item.y)).total.backward()
            ours.step()

            logits = plain(x)
            with torch.no_grad():
                target = source(x)
            soft = F.kl_div((logits / 3).log_softmax(1), (target / 3).softmax(1), reduction="batchmean") * 9
            theirs.zero_grad()
            (ce_weight * F.cross_entropy(logits, item.y) + weight * soft).backward()  # type: ignore[no-untyped-call]
            theirs.step()
        for (name, mine), (_, other) in zip(learner.state_dict().items(), plain.state_dict().items(), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-10, msg=name)
        assert not tiny.same(tiny.bits(learner), tiny.bits(tiny.student().double())), "nothing was learned"

    def test_no_method_is_cross_entropy(self) -> None:
        made, item = objective(), batch()
        losses = made(item)
        assert list(losses.parts) == ["ce"]
        assert torch.equal(losses.total, F.cross_entropy(losses.logits, item.y))

    def test_a_teacher_is_needed_only_by_methods(self) -> None:
        build_objective(tiny.student(), example=tiny.EXAMPLE)((batch().x, batch().y)).total.backward()
        with pytest.raises(UserError, match="fitnet distils from a teacher"):
            build_objective(tiny.student(), methods=["fitnet"], example=tiny.EXAMPLE)


class TestSeveralMethods:
    """Direct loss aggregation."""

    @pytest.mark.parametrize("method", SINGLE, ids=name_of)
    def test_joint_with_one_method_is_that_method(self, method: str | WeightedMethod) -> None:
        (item,) = weighted([method])
        torch.manual_seed(0)
        one = objective([method])
        torch.manual_seed(0)
        joint = objective([replace(item)], ce_weight=item.method.published_ce_weight)
        first, second = one(batch()), joint(batch())
        assert torch.equal(first.total, second.total)
        assert list(first.parts) == list(second.parts)

    def test_parts_sum_to_the_total(self) -> None:
        losses = objective(["kd", "fitnet", "vid", "sp"])(batch())
        assert list(losses.parts) == ["ce", "kd", "fitnet", "vid.level0", "vid.level1", "vid.level2", "sp"]
        torch.testing.assert_close(sum(losses.parts.values()), losses.total, rtol=1e-6, atol=0.0)

    def test_each_part_is_weighted(self) -> None:
        plain = objective([WeightedMethod("kd", KD(), 1.0)], ce_weight=1.0)(batch()).parts
        heavy = objective([WeightedMethod("kd", KD(), 7.0)], ce_weight=3.0)(batch()).parts
        torch.testing.assert_close(heavy["kd"], 7 * plain["kd"])
        torch.testing.assert_close(heavy["ce"], 3 * plain["ce"])

    def test_methods_are_added_not_averaged(self) -> None:
        alone = {name: objective([name])(batch()).parts[name] for name in ("kd", "sp")}
        both = objective(["kd", "sp"])(batch()).parts
        assert all(torch.equal(both[name], loss) for name, loss in alone.items())

    def test_weights_default_to_the_published_ones(self) -> None:
        assert [item.weight for item in weighted(["kd", FitNet()])] == [0.9, 100.0]
        assert published_ce_weight(weighted(["kd"])) == 0.1
        assert published_ce_weight(weighted(["kd", "fitnet"])) == 1.0
        assert published_ce_weight(()) == 1.0

    def test_methods_of_one_name_have_different_keys(self) -> None:
        made = objective([KD(temperature=1), KD(temperature=8), KD(temperature=4)])
        losses = made(batch())
        assert list(losses.parts) == ["ce", "kd", "kd-2", "kd-3"]
        assert len({float(loss.detach()) for loss in losses.parts.values()}) == 4
        torch.testing.assert_close(sum(losses.parts.values()), losses.total)

    @pytest.mark.parametrize(
        "names",
        [("kd-2", "kd", "kd"), ("kd", "kd", "kd-2"), ("ce", "anchor", "total"), ("kd", "kd-2", "kd-2")],
    )
    def test_no_name_is_used_twice_whatever_they_are(self, names: tuple[str, ...]) -> None:
        made = weighted([WeightedMethod(name, SP(), 1.0) for name in names])
        assert len({item.name for item in made} | {"ce", "anchor", "total"}) == len(names) + 3
        assert weighted(made) == made, "naming again must change nothing"


@dataclass(frozen=True)
class LogitsOnStrong(Method):
    """Reads the student's logits of the strong view, without cross-entropy on them."""

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 1.0

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        return Reads(("logits@strong",))

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        return {"norm": inputs.student.features[0].square().mean(1)}


class TestViews:
    """Cross-entropy is taken of the training view, and of further views only where a method wants that (MLKD)."""

    @pytest.mark.parametrize(("method", "count"), [(LogitsOnStrong(), 1), (MLKD(), 2)], ids=["own", "mlkd"])
    def test_cross_entropy(self, method: Method, count: int) -> None:
        made = objective([method], ce_weight=1.0)
        assert made.views == {"strong"}
        item = next(iter(tiny.loader().epoch(1, views=made.views)))
        made.eval()
        losses = made(item)
        views = [item.x, item.views["strong"]][:count]
        expected = torch.stack([F.cross_entropy(made.student(x), item.y) for x in views]).sum()
        torch.testing.assert_close(losses.parts["ce"], expected)

    def test_both_together_take_it_of_each_view_once(self) -> None:
        made = objective([LogitsOnStrong(), MLKD(), LogitsOnStrong()], ce_weight=1.0).eval()
        item = next(iter(tiny.loader().epoch(1, views=made.views)))
        expected = sum(F.cross_entropy(made.student(x), item.y) for x in (item.x, item.views["strong"]))
        torch.testing.assert_close(made(item).parts["ce"], torch.as_tensor(expected))


class TestErrors:
    def test_other_classes_than_the_teacher(self) -> None:
        other = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 7))
        with pytest.raises(UserError, match="kd: the teacher has 10 output classes, the student 7"):
            build_objective(other, tiny.teacher(), methods=["kd"], example=tiny.EXAMPLE)
        assert len(build_objective(other, tiny.teacher(), methods=["sp"], example=tiny.EXAMPLE).methods) == 1

    def test_unknown_method(self) -> None:
        with pytest.raises(UserError, match="unknown method 'fitnt'; did you mean 'fitnet'"):
            objective(["fitnt"])

    def test_a_method_that_does_not_fit_is_named(self) -> None:
        with pytest.raises(UserError, match=r"^fitnet: .*hint_layer 9"):
            objective([FitNet(hint_layer=9)])

    def test_crd_without_the_data(self) -> None:
        with pytest.raises(UserError, match=r"^crd: .*label"):
            build_objective(tiny.student(), tiny.teacher(), methods=["crd"], example=tiny.EXAMPLE)


@dataclass(frozen=True)
class FirstPixel(Method):
    """A method of a user's own, which reads the student alone."""

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 2.0

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        return Reads(("stem",))

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        return {"pixel": inputs.student.features[0][:, 0, 0, 0].mean()}


def test_a_method_of_the_users_own() -> None:
    losses = objective([FirstPixel()])(batch())
    (name,) = set(losses.parts) - {"ce"}
    assert name == "firstpixel"
    losses.total.backward()
