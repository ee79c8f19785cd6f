"""Where teacher and reference compile."""

import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.runtime import ComputeConfig
from smskd.models import compiled, macs
from smskd.recipe import StageSpec
from smskd.runs.folder import RunFolder
from smskd.teacher_cache import CacheConfig
from smskd.training import compute_policy as compilation
from smskd.training.config import RunConfig
from smskd.training.run import run
from smskd.training.state import TrainingState
from tests.support import tiny

FULL = ComputeConfig()


def made(compute: ComputeConfig = FULL, cache: Any = "off") -> RunConfig:
    """A stage of one epoch, and one of nine with a reference."""
    planned = tiny.stages(
        [(StageSpec(until=1), ["kd"]), (StageSpec(until=10), ["kd"])], epochs=10, anchor=ReferenceKL()
    )
    setup = tiny.setup(planned)
    return replace(setup, compute=compute, cache=CacheConfig(cache), augmentation_space=setup.train.augmentation_space)  # type: ignore[attr-defined]


def choices(setup: RunConfig) -> list[tuple[bool, bool, bool]]:
    """Of student, teacher and reference, in each stage."""
    trainee, result = TrainingState(setup), []
    for index, stage in enumerate(setup.stages):
        trainee.enter(stage, index)
        teacher, reference = trainee.objective.teacher, trainee.objective.reference
        assert teacher is not None
        student = trainee.objective.compiled is not None
        result.append((student, teacher.compiles, reference is not None and reference.compiles))
        trainee.reference = trainee.objective.frozen()
    return result


def test_long_stages_of_large_networks_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "TRAINING_WORTHWHILE", float("inf"))
    teacher, student = macs(tiny.teacher(), tiny.SHAPE), macs(tiny.student(), tiny.SHAPE)
    assert teacher > student
    for least, expected in (
        (tiny.TRAIN * teacher, [(True, False), (True, 9 * student >= teacher)]),
        (9 * tiny.TRAIN * student, [(teacher >= 9 * student, False), (True, True)]),
        (9 * tiny.TRAIN * teacher, [(False, False), (True, False)]),
        (9 * tiny.TRAIN * teacher + 1, [(False, False), (False, False)]),
    ):
        monkeypatch.setattr(compilation, "WORTHWHILE", least)
        assert choices(made()) == [(False, *frozen) for frozen in expected]


def test_students_do_in_long_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    student = macs(tiny.student(), tiny.SHAPE)
    for least, expected in (
        (3 * tiny.TRAIN * student, [True, True]),
        (3 * 9 * tiny.TRAIN * student, [False, True]),
        (3 * 9 * tiny.TRAIN * student + 1, [False, False]),
    ):
        monkeypatch.setattr(compilation, "TRAINING_WORTHWHILE", least)
        assert [choice[0] for choice in choices(made())] == expected


@pytest.fixture
def any_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "WORTHWHILE", 0)
    monkeypatch.setattr(compilation, "TRAINING_WORTHWHILE", 0)


@pytest.mark.usefixtures("any_stage")
@pytest.mark.parametrize("numerics", [ComputeConfig(compile="off"), ComputeConfig("bf16")])
def test_nothing_does_if_not_asked_to_or_in_low_precision(compute: ComputeConfig) -> None:
    assert choices(made(compute)) == [(False, False, False)] * 2


def test_with_on_all_do_but_frozen_networks_in_low_precision() -> None:
    assert choices(made(ComputeConfig(compile="on"))) == [(True, True, False), (True, True, True)]
    assert choices(made(ComputeConfig("bf16", "on"))) == [(True, False, False), (True, False, False)]


@pytest.mark.usefixtures("any_stage")
def test_a_teacher_whose_outputs_are_cached_does_not() -> None:
    assert choices(made(cache="memory")) == [(True, False, False), (True, False, True)]


def test_a_run_that_compiles_is_the_same_as_one_that_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tiny.trained(made(), tmp_path / "plain")
    monkeypatch.setattr(compilation, "WORTHWHILE", 0)
    monkeypatch.setattr(compilation, "TRAINING_WORTHWHILE", 0)
    monkeypatch.setattr("smskd.models.compiled.BACKEND", "aot_eager")
    programs: list[Any] = []

    def noted(graph: Any, pictures: torch.Tensor) -> Any:
        programs.append(graph)
        return graph

    monkeypatch.setattr(compiled, "_compile", noted)
    fast = tiny.trained(made(), tmp_path / "fast")
    stages = tiny.summary(tmp_path / "fast")["stages"]
    assert [stage["cost"]["compiled"] for stage in stages] == [
        ["student", "teacher"],
        ["student", "teacher", "reference"],
    ]
    assert len(programs) == 2  # the teacher's, for both stages, and the reference's
    assert [report.test_top1 for report in fast] == [report.test_top1 for report in plain]
    for one, other in zip(fast, plain, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=2e-5)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_with_the_real_compiler_too_resume_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "WORTHWHILE", 0)
    monkeypatch.setattr(compilation, "TRAINING_WORTHWHILE", 0)
    programs: list[Any] = []
    compiler = compiled._compile

    def noted(graph: Any, pictures: torch.Tensor) -> Any:
        programs.append(compiler(graph, pictures))
        return programs[-1]

    monkeypatch.setattr(compiled, "_compile", noted)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    parts.mkdir()
    tiny.trained(made(), whole)
    reports = run(made(), RunFolder(parts))
    list(islice(reports, 3))
    reports.close()
    tiny.trained(made(), parts)
    assert len(programs) == 2 * 3
    for folder in (whole, parts):
        assert all("student" in stage["cost"]["compiled"] for stage in tiny.summary(folder)["stages"])
    assert tiny.outcome(parts) == tiny.outcome(whole)
