"""Methods that violate the checks of :mod:`smskd.testing`, one each."""

import random
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads
from smskd.interfaces.terms import DataInfo, Kind, Method, Pretraining, TermInputs
from smskd.methods.fitnet import FitNet
from smskd.methods.kd import KD

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
