"""Each check of methods in :mod:`smskd.testing` fails on a method that violates it, and names both."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from smskd.interfaces.terms import Kind, Method
from smskd.methods.at import AT
from smskd.methods.crd import CRD
from smskd.methods.fitnet import FitNet
from smskd.methods.kd import KD
from smskd.testing import CHECKS, check_method
from tests.support.broken_methods import (
    Averages,
    Blind,
    Detached,
    Forgetful,
    Gambler,
    Idle,
    Infinite,
    InPlace,
    Narrow,
    NeedsTwo,
    Needy,
    Noisy,
    NoSameArchitecture,
    OfNoKind,
    OneArchitecture,
    OnlyAlone,
    Ordered,
    OrderedAndDeclared,
    OrderedAndRandom,
    PerClass,
    PicklesItsState,
    Related,
    RelatedAndDeclared,
    SharesItsState,
    Talkative,
    Thawed,
    TrainsTheTeacher,
    Unordered,
    Unrelated,
    Unweighted,
)

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
    assert str(caught.value).startswith(f"{type(method()).__module__}:{type(method()).__name__}: {check}: ")


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
    assert all(line.startswith(f"{Unweighted.__module__}:Unweighted: ") for line in lines)


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
