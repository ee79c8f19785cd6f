"""The student with SimKD's head: later stages, copies, from a recipe to a loaded file."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

import smskd
from smskd import session as training
from smskd.anchors.reference_kl import ReferenceKL
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.objective import Objective
from smskd.models import create, save_weights
from smskd.models.frozen import Frozen
from smskd.objective import build_objective
from smskd.objective.student_head import StudentWithHead, rebuild_head
from smskd.objective.weighted_sum import WeightedSum
from smskd.recipe import parse
from smskd.report.page import Page
from smskd.testing.inputs import DATA

X, Y = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 5


def _model(name: str, seed: int) -> FeatureModel:
    """A network whose batch norms are not the identity."""
    torch.manual_seed(seed)
    model = create(name, classes=5, image_size=(16, 16)).train()
    with torch.no_grad():
        for _ in range(2):
            model(torch.randn(8, 3, 16, 16))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
    return model


def _parameters(objective: Objective) -> tuple[nn.Parameter, ...]:
    (group,) = objective.parameter_groups()
    return group.parameters


def _stage(student: nn.Module, teacher: str = "resnet8_w4", method: str = "simkd") -> WeightedSum:
    return build_objective(student, _model(teacher, seed=2), methods=[method], example=X, data=DATA)


def _later_stage(student: FeatureModel, method: str) -> WeightedSum:
    teacher, reference = _model("resnet8_w4", seed=2), Frozen(student, X)
    return build_objective(
        student, teacher, methods=[method], example=X, data=DATA, anchor=ReferenceKL(), reference=reference
    )


def _trained(teacher: str = "resnet8_w4") -> FeatureModel:
    """The student after a few steps with SimKD."""
    objective = _stage(_model("resnet8_w2", seed=1), teacher)
    optimizer = torch.optim.SGD(_parameters(objective), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        objective((X, Y)).total.backward()
        optimizer.step()
    return objective.predictor


def test_the_exported_student_is_rebuilt_from_its_description() -> None:
    predictor = _trained().eval()
    assert isinstance(predictor, StudentWithHead)
    torch.manual_seed(9)
    again = rebuild_head(create("resnet8_w2", classes=5, image_size=(16, 16)), predictor.description())
    again.load_state_dict(predictor.state_dict())
    assert torch.equal(again.eval()(X), predictor(X))


@pytest.mark.parametrize("teacher", ["resnet8_w4", "wrn_16_1"])
def test_copying_and_freezing(teacher: str) -> None:
    predictor = _trained(teacher).eval()
    expected = predictor(X).detach()
    torch.testing.assert_close(copy.deepcopy(predictor)(X), expected)
    frozen = Frozen(predictor, X)
    torch.testing.assert_close(frozen(X), expected, rtol=1e-4, atol=1e-5)
    assert frozen.folds
    with torch.no_grad():
        for parameter in predictor.parameters():
            parameter.zero_()
    torch.testing.assert_close(frozen(X), expected, rtol=1e-4, atol=1e-5)


def test_cross_entropy_is_off_and_the_students_own_classifier_is_not_trained() -> None:
    student = _model("resnet8_w2", seed=1)
    objective = _stage(student)
    losses = objective((X, Y))
    losses.total.backward()
    assert float(losses.parts["ce"].detach()) == 0
    assert student.classifier is not None
    assert student.classifier.weight.grad is None or student.classifier.weight.grad.abs().max() == 0
    torch.testing.assert_close(objective.predictor(X), losses.logits)


def test_the_next_stage_trains_the_projector_and_not_the_classifier() -> None:
    predictor = _trained()
    assert isinstance(predictor, StudentWithHead)
    objective = _later_stage(predictor, "kd")
    assert objective.predictor is predictor
    before = {name: value.clone() for name, value in predictor.state_dict().items()}
    optimizer = torch.optim.SGD(_parameters(objective), lr=0.1, weight_decay=0.1)
    objective((X, Y)).total.backward()
    optimizer.step()
    changed = {name for name, value in predictor.state_dict().items() if not torch.equal(value, before[name])}
    assert {"head.projector.conv1.weight", "head.projector.bn3.bias", "backbone.conv1.weight"} <= changed
    assert not any("teacher_classifier" in name for name in changed)


def test_simkd_after_simkd() -> None:
    objective = _later_stage(_trained(), "simkd")
    losses = objective((X, Y))
    losses.total.backward()
    assert torch.isfinite(losses.total)
    outer = objective.predictor
    assert isinstance(outer, StudentWithHead)
    assert isinstance(outer.backbone, StudentWithHead)
    torch.testing.assert_close(outer(X), losses.logits)


@pytest.mark.parametrize("teacher", ["resnet8_w4", "wrn_16_1"])
def test_two_stages_on_digits_from_recipe_to_loaded_file(
    teacher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "write_run_report", Page)  # its charts take longer than the run
    torch.manual_seed(2)
    save_weights(create(teacher, classes=10, channels=1, image_size=(8, 8)), tmp_path / "teacher.safetensors")
    value = {
        "data": {"source": "digits", "subset": {"train": 60, "test": 40}},
        "teacher": {"name": teacher, "weights": str(tmp_path / "teacher.safetensors")},
        "student": "resnet8_w2",
        "training": {"epochs": 2, "batch_size": 20},
        "runtime": {"device": "cpu"},
        "stages": [{"methods": ["simkd"], "ends_after": 1}, {"methods": ["kd"]}],
    }
    result = smskd.train(parse(value), out=tmp_path / "run")
    x = torch.rand(3, 1, 8, 8)
    assert isinstance(result.student, StudentWithHead)
    for place in (tmp_path / "run", tmp_path / "run" / "stages" / "1"):
        assert isinstance(smskd.load(place), StudentWithHead)
    loaded, trained = smskd.load(tmp_path / "run").state_dict(), result.student.state_dict()
    assert loaded.keys() == trained.keys()
    assert all(torch.equal(value, trained[name]) for name, value in loaded.items())
    torch.testing.assert_close(smskd.load(tmp_path / "run")(x), result.student(x), rtol=1e-4, atol=1e-5)
