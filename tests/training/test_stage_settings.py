"""Settings that a stage has of its own: teacher, optimizer, schedule, batch size, weight of the cross-entropy."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smskd.config.base import ComponentConfig
from smskd.config.data import SubsetConfig
from smskd.config.models import TeacherConfig
from smskd.config.optimization import OptimizerConfig, ScheduleConfig
from smskd.config.stage import StageConfig
from smskd.models import save_weights
from tests.support import tiny
from tests.support.stage_starts import StageStart

PLAIN = StageConfig(ends_after=1)


@pytest.fixture(scope="module")
def other_teacher(tmp_path_factory: pytest.TempPathFactory) -> TeacherConfig:
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_weights(tiny.teacher(seed=9), path)
    return TeacherConfig("resnet8_w4", weights=str(path))


def test_its_own_teacher(other_teacher: TeacherConfig, starts: list[StageStart], tmp_path: Path) -> None:
    stages = [(PLAIN, ["kd"]), (StageConfig(teacher=other_teacher), ["kd"])]
    made = tiny.built(tiny.recipe(stages, epochs=2))
    tiny.trained(made, tmp_path / "own")
    first, second = (start.teacher for start in starts)
    assert first is not None
    assert second is not None
    assert tiny.same(first, tiny.bits(tiny.teacher()))
    assert tiny.same(second, tiny.bits(tiny.teacher(seed=9)))
    assert tiny.summary(tmp_path / "own")["teacher"]["model"] == "resnet8_w4"

    tiny.trained(tiny.built(tiny.recipe([(PLAIN, ["kd"]), (StageConfig(), ["kd"])], epochs=2)), tmp_path / "common")
    own, common = (tiny.outcome(tmp_path / name)["weights"] for name in ("own", "common"))
    assert own["stages/1/student.safetensors"] == common["stages/1/student.safetensors"]
    assert own["stages/2/student.safetensors"] != common["stages/2/student.safetensors"]


def test_its_own_batch_size_optimizer_schedule_and_ce_weight(starts: list[StageStart], tmp_path: Path) -> None:
    own = StageConfig(
        batch_size=30,
        optimizer=OptimizerConfig(learning_rate=0.4, momentum=0.0, weight_decay=0.0),
        schedule=ScheduleConfig(decay_at=(1,), decay_rate=0.5),
        ce_weight=0.25,
    )
    reports = tiny.trained(tiny.built(tiny.recipe([(PLAIN, []), (own, [])], epochs=3)), tmp_path)
    assert [start.batch_size for start in starts] == [tiny.BATCH, 30]
    assert [report.learning_rate for report in reports] == pytest.approx([0.05, 0.4, 0.2])

    stages: list[Any] = [(PLAIN, []), (replace(own, ce_weight=1.0), [])]
    heavier = tiny.trained(tiny.built(tiny.recipe(stages, epochs=3)), tmp_path / "heavier")
    assert heavier[0].losses == reports[0].losses
    assert reports[1].losses["ce"] == pytest.approx(0.25 * heavier[1].losses["ce"], rel=0.2)
    assert reports[1].losses["ce"] != heavier[1].losses["ce"]


def test_stages_share_what_is_equal(other_teacher: TeacherConfig) -> None:
    recipe = tiny.recipe(
        [(PLAIN, ["kd"]), (StageConfig(ends_after=2, teacher=other_teacher, batch_size=30), []), (StageConfig(), [])],
        epochs=3,
        teacher=other_teacher,
    )
    digits = replace(recipe.data, source=ComponentConfig("digits", {}), subset=SubsetConfig(train=60, test=40))
    made = tiny.built(replace(recipe, data=digits))
    assert made.teachers[0] is made.teachers[2]
    assert made.loaders[0] is made.loaders[2]
    assert made.loaders[0] is not made.loaders[1]
