"""Mixed labels in every loss that reads labels: used as they are, or refused."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smskd.anchors.ewc import EWC
from smskd.anchors.reference_kl import ReferenceKL, reference_kl_loss
from smskd.anchors.toward_reference import TowardReference
from smskd.errors import UserError
from smskd.interfaces.batch import TEACHER_VIEW, Batch
from smskd.interfaces.features import FeatureLayout, Reads
from smskd.interfaces.terms import DataInfo, Kind, LabelUse, Method, TermInputs
from smskd.methods.lskd import LSKD
from smskd.methods.nkd import nkd_loss
from smskd.models.frozen import Frozen
from smskd.objective import build_objective
from smskd.objective.weighted_sum import WeightedSum
from smskd.ops.divergences import true_class_probability
from smskd.registry import METHODS
from tests.support import tiny
from tests.support.objectives import batch

SHARE = 0.7
INFO = replace(tiny.loader().info, mixed_labels=True)


def mixed(item: Batch | None = None) -> Batch:
    item = item or batch()
    one, other = (F.one_hot(y, tiny.CLASSES).float() for y in (item.y, item.y.roll(1)))
    x = SHARE * item.x + (1 - SHARE) * item.x.roll(1, 0)
    return replace(item, x=x, targets=SHARE * one + (1 - SHARE) * other)


def objective(*methods: Any, **options: Any) -> WeightedSum:
    data = options.pop("data", INFO)
    return build_objective(
        tiny.student(), tiny.teacher(), methods=methods, example=tiny.EXAMPLE, data=data, **options
    ).eval()


def logits_of(made: WeightedSum, item: Batch) -> Tensor:
    return made.student(item.x)  # type: ignore[no-any-return]


def test_cross_entropy_is_the_mean_of_both_classes() -> None:
    made, item = objective(), mixed()
    losses = made(item)
    one, other = (F.cross_entropy(logits_of(made, item), y) for y in (item.y, item.y.roll(1)))
    torch.testing.assert_close(losses.parts["ce"], SHARE * one + (1 - SHARE) * other)
    losses.total.backward()
    assert made.takes_mixed_labels


def test_that_of_further_views_too() -> None:
    item = mixed()
    item = replace(item, views={"strong": item.x.flip(3)})
    made = objective("mlkd")
    logits = [made.student(x) for x in (item.x, item.views["strong"])]
    expected = 0.1 * sum(F.cross_entropy(own, item.targets) for own in logits)
    torch.testing.assert_close(made(item).parts["ce"], expected)


def test_the_true_class_probability_is_the_mean_over_the_label() -> None:
    logits, item = torch.randn(20, tiny.CLASSES), mixed()
    one, other = (true_class_probability(logits, y) for y in (item.y, item.y.roll(1)))
    assert item.targets is not None
    torch.testing.assert_close(true_class_probability(logits, item.targets), SHARE * one + (1 - SHARE) * other)
    onehot = F.one_hot(item.y, tiny.CLASSES).float()
    torch.testing.assert_close(true_class_probability(logits, onehot), one)


@pytest.mark.parametrize("tcp", ["probability", "complement", "none"])
def test_the_anchor_weights_by_it(tcp: Any) -> None:
    item, reference = mixed(), Frozen(tiny.student(seed=5), tiny.EXAMPLE)
    made = objective(anchor=ReferenceKL(tcp=tcp, weight=1.0), reference=reference)
    student, other = logits_of(made, item), reference.model(item.x)
    expected = reference_kl_loss(student, other, item.targets, tcp=tcp)
    torch.testing.assert_close(made(item).parts["anchor"], expected, rtol=1e-4, atol=1e-6)
    unmixed = made(replace(item, targets=None)).parts["anchor"]
    assert bool(torch.isclose(unmixed, expected, rtol=1e-4)) == (tcp == "none")


def test_nkd_takes_the_heavier_class_as_published() -> None:
    item = mixed()
    made = objective("nkd")
    expected = nkd_loss(logits_of(made, item), made.parts.teacher.model(item.x), item.y, 1.5, 1.0)  # type: ignore[union-attr]
    parts = made(item).parts
    torch.testing.assert_close(parts["nkd.own"], expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts["nkd.others"], expected[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["dkd", "crd", LSKD(base="dkd")])
def test_losses_of_one_class_are_refused(method: Any) -> None:
    with pytest.raises(UserError, match=r"^\w+: its loss needs one class for each image.*: turn them off, or choose"):
        objective(method)
    objective(method, data=tiny.loader().info)


@pytest.mark.parametrize("anchor", [EWC(fisher="empirical"), TowardReference(method="dkd")])
def test_so_are_anchors_of_one_class(anchor: Any) -> None:
    reference = Frozen(tiny.student(), tiny.EXAMPLE)
    with pytest.raises(UserError, match=r"^anchor: its loss needs one class"):
        objective(anchor=anchor, reference=reference)


@pytest.mark.parametrize("name", [name for name in METHODS.names() if METHODS.find(name)().label_use != "hard"])
def test_every_other_method_has_a_finite_loss(name: str) -> None:
    item = mixed()
    item = replace(item, views={"strong": item.x.flip(3)})
    try:
        made = objective(name)
    except UserError as error:
        pytest.skip(str(error))
    losses = made(item)
    assert all(bool(loss.isfinite()) for loss in losses.parts.values())
    losses.total.backward()
    for phase in made.pretraining_phases():
        assert phase.loss(item)


@dataclass(frozen=True)
class Own(Method):
    """As a user may write it: it reads labels, and what it declares of that is a choice."""

    declared: LabelUse = "none"

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 1.0

    @property
    def label_use(self) -> LabelUse:
        return self.declared

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        return Reads(("logits",), ("logits",))

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        assert inputs.batch.x.shape[0] == len(inputs.batch.index)  # type: ignore[arg-type]
        return {"own": F.cross_entropy(inputs.student.logits, inputs.batch.y, reduction="none")}


class TestAMethodOfOnesOwn:
    def test_that_declares_nothing_cannot_read_mixed_labels_by_mistake(self) -> None:
        made = objective(Own())
        with pytest.raises(UserError, match=r"own: it reads batch\.y, which is mixed, .* label_use"):
            made(mixed())

    @pytest.mark.parametrize("declared", ["none", "hard", "mixed"])
    def test_reads_labels_that_are_not_mixed(self, declared: LabelUse) -> None:
        made, item = objective(Own(declared), data=tiny.loader().info), batch()
        torch.testing.assert_close(made(item).parts["own"], made(item).parts["ce"])

    def test_that_takes_mixed_ones_has_them(self) -> None:
        losses = objective(Own("mixed"))(mixed())
        assert not torch.isclose(losses.parts["own"], losses.parts["ce"])

    def test_that_needs_one_class_is_refused(self) -> None:
        with pytest.raises(UserError, match="own: its loss needs one class"):
            objective(Own("hard"))


class TestTheTeachersOwnImages:
    def test_are_given_to_the_teacher_alone(self) -> None:
        item = batch()
        other = replace(item, views={TEACHER_VIEW: item.x.flip(2)})
        made = objective("kd", anchor=ReferenceKL(), reference=Frozen(tiny.student(seed=5), tiny.EXAMPLE))
        outputs, own = made.precompute(item), made.precompute(other)
        (tap,) = own.teacher
        assert made.parts.teacher is not None
        torch.testing.assert_close(own.teacher[tap], made.parts.teacher.extract(item.x.flip(2), [tap.name])[tap.name])
        assert not torch.allclose(own.teacher[tap], outputs.teacher[tap])
        assert all(torch.equal(own.reference[tap], outputs.reference[tap]) for tap in own.reference)
        assert torch.equal(made(other).logits, made(item).logits)

    def test_also_before_a_stage(self) -> None:
        item = batch()
        (phase,) = objective("ft").pretraining_phases()
        losses = [
            float(sum(phase.loss(replace(item, views=views)).values()))
            for views in ({}, {TEACHER_VIEW: item.x.flip(2)}, {TEACHER_VIEW: item.x})
        ]
        assert losses[0] == losses[2] != losses[1]


def test_data_info_tells_of_mixing() -> None:
    assert not DataInfo(1, 2, 3).mixed_labels
