"""Methods and anchors of the user's own, as objects in `smskd.distill` and by path in a recipe."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import smskd
from smskd import StageConfig, TermInputs, UserError
from smskd import session as training
from smskd.anchors import reference_kl
from smskd.anchors.toward_reference import TowardReference
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads, TappedOutputs
from smskd.interfaces.terms import Anchor, DataInfo, Kind, Method
from smskd.methods.fitnet import FitNet
from smskd.methods.kd import KD
from smskd.models import save_weights
from smskd.objective.student_head import StudentWithHead
from smskd.recipe import parse
from smskd.report.page import Page
from tests.support import tiny
from tests.support.own_data import Stop, distilled, stopping_after


@pytest.fixture(autouse=True)
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The charts of the page take more time than the runs."""
    monkeypatch.setattr(training, "write_run_report", Page)


@dataclass(frozen=True)
class OwnMethod(Method):
    """The squared distance of the logits, with a learned scale."""

    power: float = 2.0

    kind: ClassVar[Kind] = "response"
    published_weight: ClassVar[float] = 0.1

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        return Reads(("logits",), ("logits",))

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        return nn.Linear(student.classes, student.classes, bias=False)

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        return {"distance": (state(inputs.student.logits) - inputs.teacher.logits).abs().pow(self.power).mean(1)}


@dataclass(frozen=True)
class OwnAnchor(Anchor):
    """The squared distance of the logits to those of the reference, with a memory of its mean."""

    weight: float = 0.5

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        return Reads(("logits",), reference=("logits",))

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        state = nn.Module()
        state.register_buffer("mean", torch.ones(()))
        return state

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        distance = (inputs.student.logits - inputs.reference.logits).square().mean(1)
        mean = state.get_buffer("mean")
        mean.lerp_(distance.mean().detach(), 0.1)
        return {"distance": distance / (1 + mean)}


@dataclass(frozen=True)
class ReferenceKL(OwnAnchor):
    """Has the name of a built-in anchor."""


@dataclass(frozen=True)
class NewHead(Method):
    """A method whose layer becomes the student's last one."""

    scale: float = 1.0

    kind: ClassVar[Kind] = "feature"
    published_weight: ClassVar[float] = 1.0
    replaces_head: ClassVar[bool] = True

    def reads(self, student: FeatureLayout, teacher: FeatureLayout | None) -> Reads:
        return Reads((student.pooled,), ("logits",))

    def build(self, student: ModelInfo, teacher: ModelInfo | None, data: DataInfo) -> nn.Module:
        return nn.Linear(student.shapes[0][0], student.classes)

    def head(self, student: TappedOutputs, state: nn.Module) -> TappedOutputs:
        return TappedOutputs(self.scale * state(student.features[0]), student.features)

    def loss(self, inputs: TermInputs, state: nn.Module) -> dict[str, Tensor]:
        return {"head": (inputs.student.logits - inputs.teacher.logits).square().mean()}


def resumed(folder: Path, epoch: int, **arguments: Any) -> smskd.Result:
    """The result of a run that was stopped after an epoch and resumed."""
    with pytest.raises(Stop):
        distilled(out=folder, on_epoch=stopping_after(epoch), **arguments)
    return distilled(out=folder, resume=True, **arguments)


class TestOwnTerms:
    @pytest.mark.parametrize(
        "arguments",
        [
            {"stages": [OwnMethod(), "kd"], "anchor": OwnAnchor()},
            {"stages": ["fitnet", OwnMethod(power=1.5)], "anchor": ReferenceKL()},
            {"stages": ["at", "kd"], "anchor": TowardReference(weight=2.0, method=FitNet())},
            {"stages": ["at", StageConfig(methods=(KD(),), anchor=OwnAnchor(0.2))], "anchor": None},
        ],
        ids=["own", "same name", "toward reference", "of the stage"],
    )
    def test_train_write_and_resume(self, arguments: dict[str, Any], tmp_path: Path) -> None:
        reports: list[Any] = []
        whole = distilled(out=tmp_path / "whole", on_epoch=reports.append, **arguments)
        assert ["anchor" in report.losses for report in reports] == [False, False, True, True]
        assert reports[-1].losses["anchor"] > 0
        found = resumed(tmp_path / "run", 3, **arguments)
        assert tiny.same(tiny.bits(found.student), tiny.bits(whole.student))
        assert tiny.outcome(tmp_path / "run") == tiny.outcome(tmp_path / "whole")

    def test_a_class_called_reference_kl_is_not_taken_for_the_built_in_one(self, tmp_path: Path) -> None:
        """Its name is its path, and a run that was begun with it is not continued with the built-in one."""
        arguments: dict[str, Any] = {"stages": ["fitnet", "kd"], "out": tmp_path}
        result = distilled(anchor=ReferenceKL(weight=0.4), **arguments)
        assert result.summary["stages"][1]["anchor"] == f"{__name__}:ReferenceKL"
        built_in = distilled(anchor=reference_kl.ReferenceKL(weight=0.4), stages=["fitnet", "kd"])
        assert built_in.summary["stages"][1]["anchor"] == "reference_kl"
        assert not tiny.same(tiny.bits(result.student), tiny.bits(built_in.student))
        with pytest.raises(UserError, match=r"was begun with other stages\.1\.anchor"):
            distilled(anchor=reference_kl.ReferenceKL(weight=0.4), resume=True, **arguments)

    def test_anything_else_is_refused(self) -> None:
        with pytest.raises(UserError, match=r"^anchor must be of type str or Anchor, not KD"):
            distilled(anchor=KD())
        with pytest.raises(UserError, match=r"^strategy must be of type str or Strategy, not KD"):
            distilled(strategy=KD())
        with pytest.raises(UserError, match=r"^stages\.0\.methods\.0: .* is no method"):
            distilled(stages=[[OwnAnchor()]])


def recipe(folder: Path, **keys: Any) -> dict[str, Any]:
    weights = folder / "teacher.safetensors"
    save_weights(tiny.teacher(), weights)
    return {
        "data": {"source": "digits", "subset": {"train": tiny.TRAIN, "test": tiny.TEST}},
        "teacher": {"name": "resnet8_w4", "weights": str(weights)},
        "student": "resnet8_w2",
        "training": {"epochs": 3, "batch_size": tiny.BATCH},
        "schedule": {"decay_at": [2]},
        "runtime": {"device": "cpu"},
        **keys,
    }


class TestRecipe:
    def test_own_terms_by_path(self, tmp_path: Path) -> None:
        own = {"name": f"{__name__}:OwnMethod", "power": 1.5, "weight": 0.2}
        given = recipe(tmp_path, methods=["fitnet", own], anchor={"name": f"{__name__}:OwnAnchor", "weight": 0.3})
        smskd.train(parse(given), out=tmp_path / "run")
        losses = tiny.metrics(tmp_path / "run")[-1]["losses"]
        assert list(losses) == ["total", "ce", "ownmethod", "anchor"]
        assert (tmp_path / "run" / "recipe.yaml").read_text(encoding="utf-8").count(f"name: {__name__}:Own") == 2

    def test_toward_reference(self, tmp_path: Path) -> None:
        anchor = {"name": "toward_reference", "weight": 1.5, "method": {"name": "fitnet", "hint_layer": 3}}
        smskd.train(parse(recipe(tmp_path, methods=["at", "kd"], anchor=anchor)), out=tmp_path / "run")
        last = tiny.metrics(tmp_path / "run")[-1]
        assert list(last["losses"]) == ["total", "ce", "kd", "anchor"]
        assert last["losses"]["anchor"] > 0
        assert [stage["anchor"] for stage in tiny.summary(tmp_path / "run")["stages"]] == [None, "toward_reference"]


class TestAStudentWithANewHead:
    def test_is_returned_saved_and_loaded(self, tmp_path: Path) -> None:
        given = recipe(tmp_path, methods=[f"{__name__}:NewHead", "kd"])
        result = smskd.train(parse(given), out=tmp_path / "run")
        x = torch.rand(3, *tiny.SHAPE)
        with pytest.raises(UserError, match=f"of the method '{__name__}:NewHead', which does not come with"):
            smskd.load(tmp_path / "run")
        loaded = smskd.load(tmp_path / "run", trust=True)
        assert isinstance(result.student, StudentWithHead)
        torch.testing.assert_close(loaded(x), result.student(x), rtol=1e-4, atol=1e-6)
        assert tiny.same(tiny.bits(loaded), tiny.bits(result.student))

    def test_resumes(self, tmp_path: Path) -> None:
        stages = [NewHead(), "kd"]
        whole = distilled(stages=stages, out=tmp_path / "whole")
        for epoch in (1, 3):
            result = resumed(tmp_path / str(epoch), epoch, stages=stages)
            assert tiny.same(tiny.bits(result.student), tiny.bits(whole.student))
            assert tiny.outcome(tmp_path / str(epoch)) == tiny.outcome(tmp_path / "whole")
        again = distilled(stages=stages, out=tmp_path / "whole", resume=True)
        assert tiny.same(tiny.bits(again.student), tiny.bits(whole.student))
