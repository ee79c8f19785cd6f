"""The loss of a stage: what is in it, whom its gradient reaches, and what stays as it was."""

import copy
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smskd.anchors.reference_kl import ReferenceKL
from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, Reads, TappedOutputs
from smskd.interfaces.terms import Kind, Method, WeightedMethod
from smskd.methods.fitnet import FitNet
from smskd.methods.kd import KD
from smskd.methods.sp import SP
from smskd.models.frozen import Frozen
from smskd.objective.resolve_terms import published_ce_weight, weighted
from smskd.objective.weighted_sum import Objective
from tests.support import tiny

SINGLE = ["kd", "fitnet", "vid", "at", "sp", "rkd", "pkt", tiny.SMALL_CRD]


def objective(methods: tiny.Methods = (), **options: object) -> Objective:
    return Objective(
        tiny.student(),
        tiny.teacher(),
        methods=methods,
        example=tiny.EXAMPLE,
        data=tiny.loader().info,
        **options,  # type: ignore[arg-type]
    )


def batch(number: int = 1) -> Batch:
    return next(iter(tiny.loader().epoch(number)))


def moved(made: Objective) -> None:
    """Some steps, after which the student is not where it was."""
    optimizer = torch.optim.SGD(made.trainable(), lr=0.1)
    for other in tiny.loader().epoch(2):
        optimizer.zero_grad()
        made(other).total.backward()
        optimizer.step()


def name_of(method: str | WeightedMethod) -> str:
    return method if isinstance(method, str) else method.name


class TestOneStageWithoutAnchor:
    """It is the method alone: cross-entropy and the published loss, in a plain loop."""

    @pytest.mark.parametrize(("ce_weight", "weight"), [(0.1, 0.9), (1.0, 0.25), (0.0, 2.0)])
    def test_equals_a_hand_written_loop(self, ce_weight: float, weight: float) -> None:
        learner, plain, source = tiny.student().double(), tiny.student().double(), tiny.teacher().double()
        made = Objective(
            learner,
            source,
            methods=[WeightedMethod("kd", KD(temperature=3.0), weight)],
            example=tiny.EXAMPLE.double(),
            ce_weight=ce_weight,
        )
        ours = torch.optim.SGD(made.trainable(), lr=0.05, momentum=0.9, weight_decay=5e-4)
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
            (ce_weight * F.cross_entropy(logits, item.y) + weight * soft).backward()
            theirs.step()
        for (name, mine), (_, other) in zip(learner.state_dict().items(), plain.state_dict().items(), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-10, msg=name)
        assert not tiny.same(tiny.bits(learner), tiny.bits(tiny.student().double())), "nothing was learnt"

    def test_no_method_is_cross_entropy(self) -> None:
        made, item = objective(), batch()
        losses = made(item)
        assert list(losses.parts) == ["class"]
        assert torch.equal(losses.total, F.cross_entropy(losses.logits, item.y))

    def test_a_teacher_is_needed_only_by_methods(self) -> None:
        Objective(tiny.student(), example=tiny.EXAMPLE)((batch().x, batch().y)).total.backward()
        with pytest.raises(UserError, match="fitnet distils from a teacher"):
            Objective(tiny.student(), methods=["fitnet"], example=tiny.EXAMPLE)


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
        assert list(losses.parts) == ["class", "kd", "fitnet", "vid.level0", "vid.level1", "vid.level2", "sp"]
        torch.testing.assert_close(sum(losses.parts.values()), losses.total, rtol=1e-6, atol=0.0)

    def test_each_part_is_weighted(self) -> None:
        plain = objective([WeightedMethod("kd", KD(), 1.0)], ce_weight=1.0)(batch()).parts
        heavy = objective([WeightedMethod("kd", KD(), 7.0)], ce_weight=3.0)(batch()).parts
        torch.testing.assert_close(heavy["kd"], 7 * plain["kd"])
        torch.testing.assert_close(heavy["class"], 3 * plain["class"])

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
        assert list(losses.parts) == ["class", "kd", "kd-2", "kd-3"]
        assert len({float(loss.detach()) for loss in losses.parts.values()}) == 4
        torch.testing.assert_close(sum(losses.parts.values()), losses.total)

    @pytest.mark.parametrize(
        "names",
        [("kd-2", "kd", "kd"), ("kd", "kd", "kd-2"), ("class", "anchor", "total"), ("kd", "kd-2", "kd-2")],
    )
    def test_no_name_is_used_twice_whatever_they_are(self, names: tuple[str, ...]) -> None:
        made = weighted([WeightedMethod(name, SP(), 1.0) for name in names])
        assert len({item.name for item in made} | {"class", "anchor", "total"}) == len(names) + 3
        assert weighted(made) == made, "naming again must change nothing"


class TestAnchor:
    def second_stage(self, anchor: ReferenceKL | None, methods: tiny.Methods = ("kd",)) -> Objective:
        made = objective(["fitnet"])
        moved(made)
        made.next_stage(methods, anchor=anchor)
        moved(made)
        return made

    def test_is_the_weighted_kl_to_the_student_of_before(self) -> None:
        made = objective(["fitnet"])
        moved(made)
        before = copy.deepcopy(made.student).eval()
        made.next_stage(["kd"], anchor=ReferenceKL(weight=0.3, temperature=2.0))
        moved(made)
        item = batch()
        losses = made(item)
        with torch.no_grad():
            reference = before(item.x)
        divergence = F.kl_div((losses.logits / 2).log_softmax(1), (reference / 2).softmax(1), reduction="none").sum(1)
        weights = reference.softmax(1)[torch.arange(len(item.y)), item.y]
        expected = 0.3 * (weights * 4 * divergence).mean()
        torch.testing.assert_close(losses.parts["anchor"], expected, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(sum(losses.parts.values()), losses.total)
        assert losses.parts["anchor"] > 0

    def test_is_nothing_in_the_first_stage(self) -> None:
        made = objective()
        made.begin_stage(["kd"], anchor=ReferenceKL())
        assert "anchor" not in made(batch()).parts

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[Frozen]:
        """The frozen networks that are run, in their order."""
        found: list[Frozen] = []
        extract = Frozen.extract

        def recorded(self: Frozen, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
            found.append(self)
            return extract(self, x, names)

        monkeypatch.setattr(Frozen, "extract", recorded)
        return found

    @pytest.mark.parametrize("anchor", [None, ReferenceKL(weight=0.0), ReferenceKL(weight=0.0, source="teacher")])
    def test_without_weight_the_reference_is_not_run(self, anchor: ReferenceKL | None, asked: list[Frozen]) -> None:
        made = self.second_stage(anchor)
        asked.clear()
        losses = made(batch())
        assert asked == [made.teacher]
        assert "anchor" not in losses.parts

    def test_with_weight_the_reference_is_run_once(self, asked: list[Frozen]) -> None:
        made = self.second_stage(ReferenceKL())
        asked.clear()
        made(batch())
        assert asked == [made.teacher, made.reference]

    def test_the_teacher_is_not_run_where_nothing_reads_it(self, asked: list[Frozen]) -> None:
        made = self.second_stage(ReferenceKL(), methods=())
        asked.clear()
        made(batch())
        assert asked == [made.reference]
        made.next_stage([], anchor=ReferenceKL(source="teacher"))
        asked.clear()
        made(batch())
        assert asked == [made.teacher, made.reference]

    def test_source_teacher_needs_one(self) -> None:
        made = Objective(tiny.student(), example=tiny.EXAMPLE)
        with pytest.raises(UserError, match="needs a teacher"):
            made.next_stage([], anchor=ReferenceKL(source="teacher"))

    @pytest.mark.parametrize(
        ("methods", "form"), [(["rkd"], "uniform"), (["kd", "pkt"], "uniform"), (["at"], "probability")]
    )
    def test_auto_follows_the_stage(self, methods: list[str], form: str) -> None:
        made = self.second_stage(ReferenceKL(form="auto"), methods=methods)
        assert isinstance(made.anchor, ReferenceKL)
        assert made.anchor.form == form

    def test_right_after_the_stage_began_it_pulls_nowhere(self) -> None:
        """In eval mode the student is the reference; its loss is zero and so is its gradient."""
        made = objective(["fitnet"])
        moved(made)
        made.next_stage([], anchor=ReferenceKL(weight=1.0))
        made.student.eval()
        loss = made(batch()).parts["anchor"]
        gradients = torch.autograd.grad(loss, list(made.student.parameters()))
        assert abs(float(loss.detach())) < 1e-6
        assert max(float(gradient.abs().max()) for gradient in gradients) < 1e-6


class TestGradient:
    @pytest.mark.parametrize("method", SINGLE, ids=name_of)
    def test_of_a_method_reaches_student_and_its_own_modules_alone(self, method: str | WeightedMethod) -> None:
        made = objective(["fitnet"])
        made.next_stage([method], anchor=ReferenceKL())
        made.requires_grad_(True)  # even if somebody asks for more
        item = batch()
        item.x.requires_grad_()
        losses = made(item)
        sum(loss for name, loss in losses.parts.items() if name not in ("class", "anchor")).backward()  # type: ignore[union-attr]
        assert made.teacher is not None
        assert made.reference is not None
        assert all(parameter.grad is None for parameter in made.teacher.parameters())
        assert all(parameter.grad is None for parameter in made.reference.parameters())
        assert any(
            bool((parameter.grad != 0).any()) for parameter in made.student.parameters() if parameter.grad is not None
        )
        for name, parameter in made.states.named_parameters():
            assert parameter.grad is not None, f"{name} is not trained"
            assert name.endswith("conv.bias") or bool((parameter.grad != 0).any()), f"{name} is not trained"

    @pytest.mark.parametrize("part", ["class", "anchor"])
    def test_of_class_and_anchor_reaches_the_student_alone(self, part: str) -> None:
        made = objective(["fitnet"])
        moved(made)
        made.next_stage(["fitnet"], anchor=ReferenceKL())
        moved(made)
        made.zero_grad()
        made(batch()).parts[part].backward()
        reached = {name.partition(".")[0] for name, parameter in made.named_parameters() if parameter.grad is not None}
        assert reached == {"student"}
        assert all(parameter.grad is not None for parameter in made.student.parameters())

    def test_trainable_is_student_and_methods(self) -> None:
        made = objective(["fitnet", "vid"])
        made.next_stage(["fitnet"], anchor=ReferenceKL())
        trainable = {id(parameter) for parameter in made.trainable()}
        wanted = [*made.student.parameters(), *made.states.parameters()]
        assert trainable == {id(parameter) for parameter in wanted}
        assert len(list(made.trainable())) == len(trainable)
        assert len(list(made.states.parameters())) > 0

    def test_frozen_layers_of_the_student_are_left_out(self) -> None:
        learner = tiny.student()
        learner.get_submodule("conv1").requires_grad_(False)
        made = Objective(learner, example=tiny.EXAMPLE)
        assert len(list(made.trainable())) == len(list(learner.parameters())) - 1


class TestNothingMovesTeacherAndReference:
    @pytest.mark.parametrize("meddling", ["nothing", "train", "every module", "requires grad"])
    def test_bit_by_bit(self, meddling: str) -> None:
        made = objective(["fitnet"])
        moved(made)
        made.next_stage(["kd", tiny.SMALL_CRD, "at"], anchor=ReferenceKL())
        assert made.teacher is not None
        assert made.reference is not None
        teacher, reference = tiny.bits(made.teacher), tiny.bits(made.reference)
        expected = made.reference(batch().x)
        optimizer = torch.optim.SGD(made.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
        for number in range(3):
            if meddling == "train":
                nn.ModuleList([made]).train()
            if meddling == "every module":
                for module in made.modules():
                    module.train()
            if meddling == "requires grad":
                made.requires_grad_(True)
                optimizer = torch.optim.SGD(made.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
            for item in tiny.loader().epoch(number):
                optimizer.zero_grad()
                made(item).total.backward()
                optimizer.step()
        assert tiny.same(tiny.bits(made.teacher), teacher)
        assert tiny.same(tiny.bits(made.reference), reference)
        assert torch.equal(made.reference(batch().x), expected)

    def test_the_teacher_given_is_left_as_it_was(self) -> None:
        source = tiny.teacher()
        before, modes = tiny.bits(source), [module.training for module in source.modules()]
        made = Objective(tiny.student(), source, methods=["fitnet", "kd"], example=tiny.EXAMPLE)
        moved(made)
        assert tiny.same(tiny.bits(source), before)
        assert [module.training for module in source.modules()] == modes
        assert all(parameter.requires_grad for parameter in source.parameters())
        with torch.no_grad():
            for parameter in source.parameters():
                parameter.add_(1)
        assert made.teacher is not None
        assert tiny.same(tiny.bits(made.teacher.model), before)

    def test_a_loop_of_ones_own_goes_on_from_the_state(self) -> None:
        """Saved and loaded as any module, teacher and reference included."""
        first, second = objective(["fitnet"]), objective(["fitnet"])
        moved(first)
        for made in (first, second):
            made.next_stage(["vid"], anchor=ReferenceKL())
        moved(first)
        second.load_state_dict(first.state_dict())
        one, other = first(batch()), second(batch())
        assert one.parts.keys() == other.parts.keys()
        assert torch.equal(one.total, other.total)

    def test_a_new_reference_replaces_the_old(self) -> None:
        made = objective(["fitnet"])
        made.next_stage(["kd"], anchor=ReferenceKL())
        first = made.reference
        moved(made)
        made.next_stage(["sp"], anchor=ReferenceKL())
        assert made.reference is not None
        assert made.reference is not first
        assert tiny.same(tiny.bits(made.reference.model), tiny.bits(made.student))
        assert sum(isinstance(module, Frozen) for module in made.modules()) == 2


class TestMistakes:
    def test_other_classes_than_the_teacher(self) -> None:
        other = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 7))
        with pytest.raises(UserError, match="the teacher tells 10 classes apart and the student 7"):
            Objective(other, tiny.teacher(), example=tiny.EXAMPLE)

    def test_unknown_method(self) -> None:
        with pytest.raises(UserError, match="unknown method 'fitnt'; did you mean 'fitnet'"):
            objective(["fitnt"])

    def test_a_method_that_does_not_fit_is_named(self) -> None:
        with pytest.raises(UserError, match=r"^fitnet: .*hint_layer 9"):
            objective([FitNet(hint_layer=9)])

    def test_crd_without_the_data(self) -> None:
        with pytest.raises(UserError, match=r"^crd: .*label"):
            Objective(tiny.student(), tiny.teacher(), methods=["crd"], example=tiny.EXAMPLE)


@dataclass(frozen=True)
class FirstPixel(Method):
    """A method of a user's own."""

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 2.0

    def taps(self, student: FeatureLayout, teacher: FeatureLayout) -> Reads:
        return Reads(("stem",), ())

    def loss(self, student: TappedOutputs, teacher: TappedOutputs, batch: Batch, state: nn.Module) -> dict[str, Tensor]:
        return {"pixel": student.features[0][:, 0, 0, 0].mean()}


def test_a_method_of_ones_own() -> None:
    losses = objective([FirstPixel()])(batch())
    (name,) = set(losses.parts) - {"class"}
    assert name.endswith("FirstPixel")
    losses.total.backward()
