"""The anchor's part of the loss, and which frozen networks are run for it."""

import copy
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smskd.anchors.reference_kl import ReferenceKL
from smskd.anchors.toward_reference import TowardReference
from smskd.errors import UserError
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads, TappedOutputs
from smskd.interfaces.terms import DataInfo, Kind, Method, TermInputs
from smskd.models.frozen import Frozen
from smskd.objective import build_objective
from smskd.objective.weighted_sum import WeightedSum
from tests.support import tiny
from tests.support.objectives import batch, next_stage, objective, reference_of, teacher_of, train


def second_stage(anchor: ReferenceKL | TowardReference | None, methods: tiny.Methods = ("kd",)) -> WeightedSum:
    """After some training in each of two stages."""
    first = objective(["fitnet"])
    train(first)
    second = next_stage(first, methods, anchor)
    train(second)
    return second


class TestReferenceKL:
    def test_is_the_weighted_kl_to_the_student_of_the_previous_stage(self) -> None:
        first = objective(["fitnet"])
        train(first)
        before = copy.deepcopy(first.student).eval()
        made = next_stage(first, ["kd"], ReferenceKL(weight=0.3, temperature=2.0))
        train(made)
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

    def test_needs_a_reference(self) -> None:
        with pytest.raises(UserError, match="an anchor needs a reference"):
            objective(["kd"], anchor=ReferenceKL())

    def test_tcp_from_the_teacher_needs_one(self) -> None:
        first = build_objective(tiny.student(), example=tiny.EXAMPLE)
        with pytest.raises(UserError, match="needs a teacher"):
            next_stage(first, [], ReferenceKL(tcp_from="teacher"))

    @pytest.mark.parametrize(("methods", "tcp"), [(["rkd"], "none"), (["kd", "pkt"], "none"), (["at"], "probability")])
    def test_auto_follows_the_methods_of_the_stage(self, methods: list[str], tcp: str) -> None:
        made = next_stage(objective(), methods, ReferenceKL(tcp="auto"))
        assert made.anchor is not None
        assert made.anchor.term == ReferenceKL(tcp=tcp)  # type: ignore[arg-type]

    def test_loss_and_gradient_are_zero_at_the_start_of_the_stage(self) -> None:
        """In eval mode the student is the reference."""
        first = objective(["fitnet"])
        train(first)
        made = next_stage(first, [], ReferenceKL(weight=1.0))
        made.student.eval()
        loss = made(batch()).parts["anchor"]
        gradients = torch.autograd.grad(loss, list(made.student.parameters()))
        assert abs(float(loss.detach())) < 1e-6
        assert max(float(gradient.abs().max()) for gradient in gradients) < 1e-6


class TestTowardReference:
    def test_is_the_method_with_the_reference_as_the_teacher(self) -> None:
        made = second_stage(TowardReference(weight=0.5, method="kd"))
        item = batch()
        losses = made(item)
        temperature = 4.0
        student, reference = losses.logits / temperature, reference_of(made)(item.x) / temperature
        divergence = F.kl_div(student.log_softmax(1), reference.softmax(1), reduction="batchmean")
        torch.testing.assert_close(losses.parts["anchor"], 0.5 * temperature**2 * divergence, rtol=1e-4, atol=1e-6)
        assert losses.parts["anchor"] > 0


class TestFrozenNetworks:
    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> list[Frozen]:
        """The frozen networks that are run, in order."""
        found: list[Frozen] = []
        extract = Frozen.extract

        def recorded(self: Frozen, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
            found.append(self)
            return extract(self, x, names)

        monkeypatch.setattr(Frozen, "extract", recorded)
        return found

    @pytest.mark.parametrize("anchor", [None, ReferenceKL(weight=0.0), ReferenceKL(weight=0.0, tcp_from="teacher")])
    def test_without_weight_the_reference_is_not_run(self, anchor: ReferenceKL | None, calls: list[Frozen]) -> None:
        made = next_stage(objective(["fitnet"]), ["kd"], anchor)
        calls.clear()
        losses = made(batch())
        assert calls == [teacher_of(made)]
        assert "anchor" not in losses.parts

    @pytest.mark.parametrize(
        ("anchor", "methods", "expected"),
        [
            (ReferenceKL(), ["kd"], ["teacher", "reference"]),
            (ReferenceKL(), [], ["reference"]),
            (ReferenceKL(tcp_from="teacher"), [], ["teacher", "reference"]),
            (ReferenceKL(tcp_from="teacher", tcp="none"), [], ["reference"]),
            (TowardReference(method="fitnet"), [], ["reference"]),
        ],
    )
    def test_each_that_is_read_is_run_once(
        self, anchor: ReferenceKL | TowardReference, methods: list[str], expected: list[str], calls: list[Frozen]
    ) -> None:
        made = next_stage(objective(["fitnet"]), methods, anchor)
        networks = {"teacher": teacher_of(made), "reference": reference_of(made)}
        calls.clear()
        made(batch())
        assert calls == [networks[name] for name in expected]


@dataclass(frozen=True)
class NewHead(Method):
    """Replaces the student's last layer by one of its own."""

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 1.0
    replaces_head: ClassVar[bool] = True

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        return Reads((student.pooled,), ("logits",))

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        return nn.Linear(student.shapes[0][0], student.classes)

    def head(self, student: TappedOutputs, state: nn.Module) -> TappedOutputs:
        return TappedOutputs(state(student.features[0]), student.features)

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        return {"head": (inputs.student.logits - inputs.teacher.logits).square().mean(1)}


class TestNewHead:
    @pytest.mark.parametrize("method", [NewHead(), "simkd"], ids=["own", "simkd"])
    def test_cross_entropy_method_and_anchor_see_its_logits(self, method: Method | str) -> None:
        made = next_stage(objective(["fitnet"]), [method, "kd"], ReferenceKL(tcp="none"))
        made.eval()
        item = batch()
        losses = made(item)
        new = made.predictor(item.x)
        assert not torch.allclose(new, made.student(item.x)), "the head is the student's own"
        torch.testing.assert_close(losses.logits, new)
        torch.testing.assert_close(losses.parts["ce"], F.cross_entropy(new, item.y))

        def kl(target: Tensor) -> Tensor:
            return 16 * F.kl_div((new / 4).log_softmax(1), (target / 4).softmax(1), reduction="batchmean")

        torch.testing.assert_close(losses.parts["kd"], 0.9 * kl(teacher_of(made)(item.x)), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(losses.parts["anchor"], 0.4 * kl(reference_of(made)(item.x)), rtol=1e-4, atol=1e-5)

    def test_two_in_a_stage_are_refused(self) -> None:
        with pytest.raises(UserError, match="both replace the student's last layers"):
            objective([NewHead(), "simkd"])
