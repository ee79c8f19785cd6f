"""NaN and Inf are blamed on what they come from."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import smskd
from smskd.config.optimization import OptimizerConfig
from smskd.config.stage import StageConfig
from smskd.data.loaders.batching import BatchGroup
from smskd.errors import UserError
from smskd.interfaces.batch import Batch, FrozenOutputs
from smskd.interfaces.features import Tap
from smskd.models import adapt
from smskd.training.not_finite import cause_in_inputs
from tests.support import tiny


def group(x: Tensor) -> BatchGroup:
    return BatchGroup(Batch(x, torch.zeros(len(x), dtype=torch.int64), torch.arange(100, 100 + len(x))), (len(x),))


@pytest.mark.parametrize(("value", "kind"), [(math.nan, "NaN"), (-math.inf, "Inf"), (1e30, "values up to 1e+30")])
def test_an_image(value: float, kind: str) -> None:
    x = torch.rand(6, *tiny.SHAPE)
    x[4, 0, 2, 2] = value
    found = cause_in_inputs([group(torch.rand(6, *tiny.SHAPE)), group(x)])
    assert found == f"the image of training sample 104 holds {kind}: repair or remove it"


def test_outputs_of_the_teacher() -> None:
    def forward(batch: Batch) -> FrozenOutputs:
        logits = torch.ones(len(batch.y), 10)
        logits[2, 3] = math.nan
        return FrozenOutputs({Tap("logits"): logits})

    found = cause_in_inputs([group(torch.rand(6, *tiny.SHAPE))], forward)
    assert found is not None
    assert found.startswith("the teacher's logits for training sample 102 hold NaN, though its image is finite")


def test_nothing() -> None:
    assert cause_in_inputs([group(torch.rand(6, *tiny.SHAPE))], lambda batch: FrozenOutputs()) is None


class NanForBright(nn.Module):
    """Is NaN for images with a bright corner: finite weights, and outputs that are not."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, tiny.CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        bright = x.flatten(1).amax(1, keepdim=True) > 0.9
        return torch.where(bright, torch.nan, self.net(x))


def arguments(**changes: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    data = [(torch.rand(tiny.SHAPE), row % tiny.CLASSES) for row in range(40)]
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, tiny.CLASSES))
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, tiny.CLASSES))
    usual = {"student": student, "teacher": teacher, "train": data, "test": data, "stages": ["kd"], "epochs": 2}
    return {**usual, "batch_size": 20, "device": "cpu", **changes}


def refusal(**changes: Any) -> str:
    with pytest.raises(UserError) as error:
        smskd.distill(**arguments(**changes))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_weights_of_the_teacher() -> None:
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, tiny.CLASSES))
    with torch.no_grad():
        teacher[1].weight[3, 4] = math.nan
    assert refusal(teacher=teacher) == "teacher: its weights are damaged: '1.weight' holds NaN"


@pytest.mark.parametrize("cache", ["off", "memory"])
def test_the_teacher_s_outputs_in_a_run(cache: str) -> None:
    data = [(torch.full(tiny.SHAPE, 5 * row, dtype=torch.uint8), row % tiny.CLASSES) for row in range(40)]
    data[7] = (torch.full(tiny.SHAPE, 255, dtype=torch.uint8), 7)
    message = refusal(teacher=NanForBright(), train=data, teacher_cache=cache)
    assert "the teacher's logits" in message
    assert "learning_rate" not in message
    if cache == "off":
        assert "for training sample 7 hold NaN" in message


def test_the_weights_after_the_last_step(tmp_path: Path) -> None:
    """All losses of the epoch are finite: only its last update is not."""
    optimizer = OptimizerConfig(learning_rate=1e300)
    made = tiny.built(tiny.recipe([(StageConfig(), [])], epochs=1, optimizer=optimizer, batch_size=tiny.TRAIN))
    with pytest.raises(UserError, match=r"the student's .* holds (Inf|NaN) after epoch 1, all losses .* finite: lower"):
        tiny.trained(made, tmp_path)
    assert not (tmp_path / "student.safetensors").exists()


def test_a_large_loss_is_noted(tmp_path: Path) -> None:
    optimizer = OptimizerConfig(learning_rate=1e8, weight_decay=0.0)
    learner = adapt(nn.Sequential(nn.Flatten(), nn.Linear(64, tiny.CLASSES)), tiny.EXAMPLE)
    made = tiny.built(tiny.recipe([(StageConfig(), [])], epochs=2, optimizer=optimizer), learner=learner)
    tiny.trained(made, tmp_path)
    assert any("training has most likely diverged" in note for note in tiny.summary(tmp_path)["notes"])
