"""Each check of anchors in :mod:`smskd.testing` fails on an anchor that violates it, and names both."""

import random
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import pytest
import torch
from torch import Tensor, nn

from smskd.anchors.ewc import EWC
from smskd.anchors.reference_kl import ReferenceKL
from smskd.anchors.toward_reference import TowardReference
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, FeatureModel, ModelInfo, Reads
from smskd.interfaces.terms import Anchor, DataInfo, Kind, TermInputs
from smskd.testing import ANCHOR_CHECKS, check_anchor

Losses = dict[str, Tensor]


@dataclass(frozen=True)
class Distance(Anchor):
    """Mean squared difference of logits."""

    weight: float = 0.5

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        return Reads(["logits"], reference=["logits"])

    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        return {"difference": (inputs.student.logits - inputs.reference.logits).square().mean(dim=1)}


@dataclass
class Thawed(Distance.__mro__[1]):  # type: ignore[misc,name-defined]
    weight: float = 0.5
    reads = Distance.reads
    loss = Distance.loss


@dataclass(frozen=True)
class Weightless(Distance):
    weight: float = 0.0


class OfTheStudent(Distance):
    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        return Reads(["logits"])


class Unresolved(Distance):
    def resolve(self, kinds: Collection[Kind]) -> Self:
        return replace(self, weight=self.weight * 2)


class PerClass(Distance):
    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        return {"difference": (inputs.student.logits - inputs.reference.logits).square().mean(dim=0)}


class Idle(Distance):
    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        return nn.Linear(2, 2)


class Narrow(Distance):
    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        return {"difference": (inputs.student.logits @ inputs.reference.logits.T).square().mean(dim=1)}


class NeedsTwo(Distance):
    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        return {"difference": super().loss(inputs, state)["difference"][1:].mean()}


class Gambler(Distance):
    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        return {"difference": super().loss(inputs, state)["difference"] * random.random()}


class Related(Distance):
    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        return {"difference": (inputs.student.logits - inputs.reference.logits.mean(dim=0)).square().mean(dim=1)}


class Unrelated(Distance):
    relates_samples: ClassVar[bool] = True


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0


class Forgetful(Distance):
    """Counts in an attribute that is not saved."""

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        return Counter()

    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        assert isinstance(state, Counter)
        state.calls += 1
        return {"difference": super().loss(inputs, state)["difference"] * state.calls}


class Shared(Counter):
    def __deepcopy__(self, memo: object) -> "Shared":
        return self


class SharesItsState(Forgetful):
    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        return Shared()


class Pickled(nn.Module):
    def get_extra_state(self) -> object:
        return {1, 2}

    def set_extra_state(self, state: object) -> None:
        pass


class PicklesItsState(Distance):
    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        return Pickled()


class ReplacesItsState(Distance):
    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        state = nn.Module()
        state.register_buffer("stages", torch.zeros(()))
        return state

    def end_of_stage(self, model: FeatureModel, batches: Iterable[Batch], state: nn.Module) -> None:
        state.stages = state.get_buffer("stages") + 1


class Repels(Distance):
    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        return {"difference": -super().loss(inputs, state)["difference"]}


class LeavesTrainMode(Distance):
    def end_of_stage(self, model: FeatureModel, batches: Iterable[Batch], state: nn.Module) -> None:
        model.train()


class MovesTheModel(Distance):
    @torch.no_grad()
    def end_of_stage(self, model: FeatureModel, batches: Iterable[Batch], state: nn.Module) -> None:
        for parameter in model.parameters():
            parameter.mul_(0.5)


class Detached(Distance):
    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        difference = super().loss(inputs, state)["difference"].detach()
        return {"difference": difference.requires_grad_()}


class MovesTheReference(Distance):
    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        return Reads(["logits"], reference=["logits"], weights=True)

    def loss(self, inputs: TermInputs, state: nn.Module) -> Losses:
        for weight in inputs.reference_weights.values():
            weight.mul_(0.5)
        return super().loss(inputs, state)


BROKEN: list[tuple[str, Callable[[], Anchor], str]] = [
    ("frozen dataclass", Thawed, "is not frozen"),
    ("weight", Weightless, r"weight is 0\.0; it must be positive"),
    ("description", Distance, "lack: paper, formula, reads, shapes, source"),
    ("reads", OfTheStudent, "it reads neither the reference nor the weights"),
    ("resolve", Unresolved, r"it is changed by resolve\(response\)"),
    ("loss", PerClass, r"difference has the shape \[5\]; it must be \[8\] or a scalar"),
    ("loss", MovesTheReference, "changes its inputs in place: reference weight "),
    ("trained parameters", Idle, "no gradient reaches: weight, bias"),
    ("bf16 autocast", Narrow, "computed in 16 bits: difference"),
    ("batch of one", NeedsTwo, "the part difference is not finite: nan"),
    ("deterministic", Gambler, "different losses: difference"),
    ("related samples", Related, "set relates_samples"),
    ("related samples", Unrelated, "relates_samples is True"),
    ("state through safetensors", Forgetful, "the state loaded, training continues with other losses: difference"),
    ("state copied", SharesItsState, "the state copied, training continues with other losses: difference"),
    ("state without pickle", PicklesItsState, "no tensors: _extra_state|[Uu]npickl|weights_only"),
    ("state in place", ReplacesItsState, "replaced instead of changed in place: stages"),
    ("at the reference", Repels, "at the reference, and -.* near it"),
    ("end of stage", LeavesTrainMode, "changes requires_grad or the mode of the model"),
    ("end of stage", MovesTheModel, "changes the model: "),
    ("gradients", Detached, "no gradient reaches the student"),
    ("later stages", MovesTheReference, "stage 2 changes teacher or reference: reference "),
]


@pytest.mark.parametrize(("check", "anchor", "message"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_a_violation_fails(check: str, anchor: Callable[[], Anchor], message: str) -> None:
    with pytest.raises(AssertionError, match=message) as caught:
        ANCHOR_CHECKS[check](anchor())
    assert str(caught.value).startswith(f"{__name__}:{type(anchor()).__name__}: {check}: ")


def test_every_check_can_fail() -> None:
    assert {check for check, _, _ in BROKEN} == ANCHOR_CHECKS.keys()


def test_a_line_for_each_failure() -> None:
    with pytest.raises(AssertionError) as caught:
        check_anchor(Weightless)
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()][:2] == ["weight", "description"]


def test_an_anchor_or_its_class() -> None:
    check_anchor(ReferenceKL)
    check_anchor(ReferenceKL(tcp="auto", tcp_from="teacher"))


def test_trained_layers_between_student_and_reference_need_not_be_a_distance() -> None:
    ANCHOR_CHECKS["at the reference"](TowardReference(method="fitnet"))


def test_an_anchor_with_a_memory_of_the_stage_before() -> None:
    for check in ("loss", "at the reference", "end of stage"):
        ANCHOR_CHECKS[check](EWC(samples=8))
