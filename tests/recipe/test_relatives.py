"""The shipped recipes of related schemes train on the digits."""

from pathlib import Path

import pytest
import torch

import smskd
from smskd import models
from smskd.models import save_weights
from smskd.recipe import read
from tests.support import tiny

PARTS = {
    "assistant": ["ce", "kd"],
    "assistant-student": ["ce", "kd"],
    "born-again": ["ce", "kd"],
    "joint": ["ce", "fitnet", "kd"],
    "several-teachers": ["ce", "kd.teacher1", "kd.teacher2"],
    "spot-adaptive": ["ce", "fitnet", "kd", "policy.graft", "policy.half"],
    "teacher-per-stage": ["ce", "kd"],
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the weights of both teachers."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    for folder, name in (("teacher", "resnet14"), ("assistant", "resnet14_w8")):
        network = models.create(name, classes=10, channels=1, image_size=(8, 8))
        (tmp_path / "runs" / folder).mkdir(parents=True)
        save_weights(network, tmp_path / "runs" / folder / "student.safetensors")
    return tmp_path


@pytest.mark.parametrize("name", PARTS)
def test_trains(name: str, here: Path) -> None:
    changes = ["training.epochs=2", "data.subset={train: 40, test: 20}", "schedule.decay_at=[1]", "runtime.device=cpu"]
    if name != "assistant-student":
        changes.append("teacher.weights=runs/teacher/student.safetensors")
    other = "weights=runs/assistant/student.safetensors"
    where = {
        "several-teachers": "teacher.others.0.",
        "assistant-student": "teacher.",
        "teacher-per-stage": "stages.0.teacher.",
    }
    changes += [where[name] + other] if name in where else []
    smskd.train(read(f"digits/{name}.yaml", changes), out=here / "run")
    lines = tiny.metrics(here / "run")
    assert list(lines[0]["losses"]) == ["total", *PARTS[name]]
    assert len(lines) == 2
    if name == "teacher-per-stage":
        assert list(lines[1]["losses"]) == ["total", "ce", "fitnet", "anchor"]


def test_the_born_again_student_has_the_architecture_of_its_teacher() -> None:
    recipe = read("digits/born-again.yaml", ["teacher.weights=x"])
    assert recipe.teacher is not None
    assert recipe.student.name == recipe.teacher.name
