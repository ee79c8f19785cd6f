"""Each check of methods in :mod:`smskd.testing` fails on a method that violates it, and names both."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads
from smskd.interfaces.terms import DataInfo, Kind, Method, Pretraining, TermInputs
from smskd.methods.at import AT
from smskd.methods.crd import CRD
from smskd.methods.fitnet import FitNet
from smskd.methods.kd import KD
from smskd.testing import CHECKS, check_method

Losses = dict[str, Tensor]


@dataclass
class Thawed(Method):
    """Not frozen."""

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 1.0

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        return Reads(["logits"], ["logits"])

    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        return {"x": inputs.student.logits.mean()}


@dataclass(frozen=True)
class Needy(KD):
    @property
    def needed(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return self is other


@dataclass(frozen=True)
class Unweighted(KD):
    published_weight: ClassVar[float] = 0.0


@dataclass(frozen=True)
class OfNoKind(KD):
    kind: ClassVar[Any] = "logits"


@dataclass(frozen=True)
class Blind(KD):
    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        return Reads(["logits", "nowhere@strong"], ["logits"])


class Detached(KD):
    """Its loss has no gradient."""

    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        return {"kd": super().loss(inputs, state)["kd"].detach()}


class PerClass(KD):
    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        return {"kd": (inputs.student.logits - inputs.teacher.logits).square().mean(dim=0)}


class Infinite(KD):
    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        return {"kd": inputs.student.logits.mean() / 0}


class InPlace(KD):
    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        inputs.teacher.logits.mul_(2)
        return super().loss(inputs, state)


class Idle(FitNet):
    """Has a layer that nothing trains."""

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        state = super().build(student, teacher, data)
        state.register_parameter("idle", nn.Parameter(torch.zeros(3)))
        return state


class Narrow(KD):
    """Computes in 16 bits where it can."""

    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        return {"kd": (inputs.student.logits @ inputs.teacher.logits.T).mean().square()}


class NeedsTwo(KD):
    """Takes a mean over the other samples."""

    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        return {"kd": (inputs.student.logits[1:] - inputs.teacher.logits[1:]).square().mean()}


class Gambler(KD):
    """Draws from a generator that the seed does not reach."""

    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        return {"kd": super().loss(inputs, state)["kd"] * random.random()}


class Ordered(KD):
    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        return {"kd": (inputs.student.logits[1:] - inputs.teacher.logits[:-1]).square().mean()}


class OrderedAndDeclared(Ordered):
    order_matters: ClassVar[bool] = True


class Related(KD):
    """Compares with the mean over the batch."""

    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        student, teacher = inputs.student.logits, inputs.teacher.logits
        return {"kd": (student - teacher.mean(dim=0)).square().mean(dim=1)}


class RelatedAndDeclared(Related):
    relates_samples: ClassVar[bool] = True


class Unrelated(KD):
    relates_samples: ClassVar[bool] = True


class Unordered(KD):
    order_matters: ClassVar[bool] = True


class OrderedAndRandom(Ordered):
    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        return {"kd": super().loss(inputs, state)["kd"] * (1 + 0.01 * torch.rand(()))}


class Noisy(KD):
    """Draws, and does not mind the order."""

    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        return {"kd": super().loss(inputs, state)["kd"] * (1 + 0.01 * torch.rand(()))}


class Counter(nn.Module):
    """Counts in an attribute that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0


class Forgetful(KD):
    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        return Counter()

    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        assert isinstance(state, Counter)
        state.calls += 1
        return {"kd": super().loss(inputs, state)["kd"] * state.calls}


class Averages(KD):
    """Keeps a running mean, each time in another tensor."""

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        state = nn.Module()
        state.register_buffer("mean", torch.zeros(()))
        return state

    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        loss = super().loss(inputs, state)["kd"]
        state.mean = (0.9 * state.get_buffer("mean") + 0.1 * loss).detach()
        return {"kd": loss - state.mean}


class Pickled(nn.Module):
    """Saves a set."""

    def get_extra_state(self) -> object:
        return {1, 2}

    def set_extra_state(self, state: object) -> None:
        pass


class Shared(nn.Module):
    """Is copied as itself."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def __deepcopy__(self, memo: object) -> "Shared":
        return self


class SharesItsState(KD):
    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        return Shared()

    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        calls = state.get_buffer("calls").add_(1)
        return {"kd": super().loss(inputs, state)["kd"] * calls.clone()}


class PicklesItsState(KD):
    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        return Pickled()


class OneArchitecture(FitNet):
    """Refuses different shapes with an exception that is not a UserError."""

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        if teacher is None or student.shapes != teacher.shapes:
            raise ValueError("shapes")
        return super().build(student, teacher, data)


class NoSameArchitecture(FitNet):
    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        if teacher is None or student.shapes == teacher.shapes:
            raise UserError("too easy")
        return super().build(student, teacher, data)


class Talkative(FitNet):
    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        if teacher is None or student.shapes != teacher.shapes:
            raise UserError("shapes differ\nmake them equal")
        return super().build(student, teacher, data)


class TrainsTheTeacher(KD):
    """Takes the teacher's classifier itself and trains it."""

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        assert teacher is not None
        return Reads(["logits"], [teacher.pooled])

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        assert teacher is not None
        assert teacher.classifier is not None
        return nn.ModuleDict({"head": teacher.classifier.requires_grad_(True)})

    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        logits = state.get_submodule("head")(inputs.teacher.features[0])
        return {"kd": (inputs.student.logits - logits).square().mean()}


class OnlyAlone(KD):
    """Its phase before the stage is announced, and there is none."""

    def pretraining(self, student: ModelInfo) -> Pretraining | None:
        return Pretraining(epochs=3, trains_student=True)


BROKEN: list[tuple[str, Callable[[], Method], str]] = [
    ("frozen dataclass", Thawed, "is not frozen"),
    ("frozen dataclass", Needy, "not equal"),
    ("kind and weights", Unweighted, r"published_weight is 0\.0"),
    ("kind and weights", OfNoKind, "kind is 'logits'; choose from response, feature, relation"),
    ("description", Unweighted, "lack: paper, formula, reads, shapes, source"),
    ("reads", Blind, "the student has no nowhere@strong"),
    ("loss", Detached, "no gradient reaches the student"),
    ("loss", PerClass, r"kd has the shape \[5\]; it must be \[8\] or a scalar"),
    ("loss", Infinite, "the part kd is not finite: -?inf"),
    ("loss", InPlace, "changes its inputs in place: teacher logits"),
    ("loss", OnlyAlone, "has no phase before the stage"),
    ("trained parameters", Idle, "no gradient reaches: idle"),
    ("bf16 autocast", Narrow, "computed in 16 bits: kd"),
    ("batch of one", NeedsTwo, "the part kd is not finite: nan"),
    ("deterministic", Gambler, "different losses: kd"),
    ("order of the batch", Ordered, "changes with the order of the samples; set order_matters"),
    ("order of the batch", OrderedAndRandom, "changes with the order of the samples; set order_matters"),
    ("order of the batch", Unordered, "order_matters is True, and the loss does not change"),
    ("related samples", Related, "depends on other samples of the batch; set relates_samples"),
    ("related samples", Unrelated, "relates_samples is True, and the loss of a sample does not depend"),
    ("state through safetensors", Forgetful, "the state loaded, training continues with other losses: kd"),
    ("state copied", SharesItsState, "the state copied, training continues with other losses: kd"),
    ("state without pickle", PicklesItsState, "no tensors: _extra_state|[Uu]npickl|weights_only"),
    ("state in place", Averages, "replaced instead of changed in place: mean"),
    ("zoo pairs", OneArchitecture, "student resnet8, teacher vgg8: ValueError: shapes"),
    ("zoo pairs", NoSameArchitecture, "student resnet8, teacher resnet8: refused: too easy"),
    ("zoo pairs", Talkative, "student resnet8, teacher vgg8: refused, not in one line"),
    ("gradients", Detached, "nothing of the method's loss depends on the student"),
    ("gradients", Idle, "no gradient reaches: idle"),
    ("gradients", TrainsTheTeacher, r"a gradient reaches the teacher: .*linear.weight|classifier.weight|fc.weight"),
    ("first stage", TrainsTheTeacher, "stage 1 changes teacher or reference: teacher "),
    ("second stage", TrainsTheTeacher, "stage 2 changes teacher or reference: teacher "),
    ("third stage", TrainsTheTeacher, "stage 3 changes teacher or reference: teacher "),
    ("joint with kd", TrainsTheTeacher, "stage 1 changes teacher or reference: teacher "),
    ("first stage", Infinite, "stage 1: the part infinite is not finite"),
]


@pytest.mark.parametrize(("check", "method", "message"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_a_violation_fails(check: str, method: Callable[[], Method], message: str) -> None:
    with pytest.raises(AssertionError, match=message) as caught:
        CHECKS[check](method())
    assert str(caught.value).startswith(f"{__name__}:{type(method()).__name__}: {check}: ")


def test_every_check_can_fail() -> None:
    assert {check for check, _, _ in BROKEN} == CHECKS.keys()


@pytest.mark.parametrize("method", [OrderedAndDeclared(), Noisy(), CRD(negatives=6), AT()])
def test_correct_declarations_of_the_order_are_accepted(method: Method) -> None:
    CHECKS["order of the batch"](method)


@pytest.mark.parametrize("method", [RelatedAndDeclared(), Noisy(), CRD(negatives=6), AT(), KD()])
def test_correct_declarations_of_related_samples_are_accepted(method: Method) -> None:
    CHECKS["related samples"](method)


def test_a_line_for_each_failure() -> None:
    with pytest.raises(AssertionError) as caught:
        check_method(Unweighted)
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["kind and weights", "description"]
    assert all(line.startswith(f"{__name__}:Unweighted: ") for line in lines)


def test_a_method_or_its_class_can_be_checked() -> None:
    check_method(KD)
    check_method(KD(temperature=2))


@dataclass(frozen=True)
class WithoutDefault(FitNet):
    def __init__(self, hint_layer: int) -> None:
        super().__init__(hint_layer)


def test_a_class_that_needs_an_argument_is_refused() -> None:
    with pytest.raises(AssertionError, match="WithoutDefault: it cannot be built from its defaults alone"):
        check_method(WithoutDefault)


def test_a_field_without_default_is_refused() -> None:
    @dataclass(frozen=True)
    class Demanding(Thawed.__mro__[1]):  # type: ignore[name-defined,misc]
        power: float
        kind: ClassVar[Kind] = "response"
        reads = Thawed.reads
        loss = Thawed.loss

    with pytest.raises(AssertionError, match="without a default: power"):
        CHECKS["frozen dataclass"](Demanding(2.0))


def test_the_random_number_generator_is_unchanged() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    CHECKS["loss"](KD())
    assert torch.equal(torch.rand(2), expected)
