"""In mixed precision all accuracies of a run are computed in that precision, so that they can be compared."""

from pathlib import Path

import torch
from torch import nn

from smskd.config.optimization import OptimizerConfig
from smskd.config.runtime import ComputeConfig
from smskd.config.stage import StageConfig
from smskd.interfaces.features import FeatureModel
from smskd.models import adapt
from smskd.training.accuracy import evaluate
from tests.support import tiny

STILL = OptimizerConfig(learning_rate=1e-30, momentum=0.0, weight_decay=0.0)


def nearly_tied(seed: int) -> FeatureModel:
    """A network without batch norm, with logits so close that bfloat16 and float32 rank them differently."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Flatten()
        )
        last = nn.Linear(8 * 64, tiny.CLASSES)
        with torch.no_grad():
            last.weight.mul_(0.2)
            last.bias.fill_(2.0)
        return adapt(nn.Sequential(layers, last), tiny.EXAMPLE)


def test_a_student_that_does_not_change_forgets_nothing(tmp_path: Path) -> None:
    """The first stage's counts come from its last epoch, the second's from the average, evaluated by itself."""
    stages = [(StageConfig(ends_after=1), []), (StageConfig(carry="ema"), [])]
    wanted = tiny.recipe(stages, epochs=2, optimizer=STILL, precision="bf16")
    made = tiny.built(wanted, learner=nearly_tied(0), source=nearly_tied(1))
    tiny.trained(made, tmp_path)
    right = {
        precision: evaluate(
            made.student, made.test.epoch(0), classes=tiny.CLASSES, compute=ComputeConfig(precision)
        ).correct
        for precision in ("fp32", "bf16")
    }
    assert not torch.equal(right["fp32"], right["bf16"]), "the precisions have to differ for this test to mean anything"
    summary = tiny.summary(tmp_path)
    first, second = summary["stages"]
    assert (second["forgotten"], second["learned"]) == (0, 0)
    assert second["retained"] + second["never_known"] == tiny.TEST
    assert first["top1_carried"] == first["top1_last"] == second["top1_carried"] == summary["student"]["top1"]
    assert second["retained"] == int(right["bf16"].sum())


def test_the_teacher_is_evaluated_in_the_same_precision(tmp_path: Path) -> None:
    wanted = tiny.recipe([(StageConfig(), ["kd"])], epochs=1, optimizer=STILL, precision="bf16")
    made = tiny.built(wanted, learner=nearly_tied(0), source=nearly_tied(1))
    tiny.trained(made, tmp_path)
    teacher = made.teachers[0]
    assert teacher is not None
    top1 = {
        precision: evaluate(teacher, made.test.epoch(0), classes=tiny.CLASSES, compute=ComputeConfig(precision)).top1
        for precision in ("fp32", "bf16")
    }
    assert top1["fp32"] != top1["bf16"]
    assert tiny.summary(tmp_path)["teacher"]["top1_last"] == top1["bf16"]
