"""Which networks are compiled, in which stages."""

import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.cache import CacheMode
from smskd.config.runtime import ComputeConfig
from smskd.config.stage import StageConfig
from smskd.models import compiled_frozen, macs
from smskd.models.frozen import Frozen
from smskd.objective.weighted_sum import WeightedSum
from smskd.training import compute_policy
from smskd.training.config import RunConfig
from smskd.training.globals import preserved_globals
from smskd.training.state import TrainingState
from tests.support import tiny
from tests.support.nearly_equal import cached_teacher


def made(cache: CacheMode = "off", epochs: int = 10, **runtime: Any) -> RunConfig:
    """A stage of one epoch, and another, of nine by default, with a reference."""
    stages = [(StageConfig(ends_after=1), ["kd"]), (StageConfig(), ["kd"])]
    return tiny.built(
        tiny.recipe(stages, epochs=epochs, anchor=ReferenceKL(), teacher=cached_teacher(cache), **runtime)
    )


def choices(config: RunConfig) -> list[tuple[bool, bool, bool]]:
    """Whether student, teacher and reference are compiled, in each stage."""
    result = []
    with preserved_globals():
        state = TrainingState(config)
        for index in range(len(config.recipe.stages)):
            state.begin_stage(index)
            assert isinstance(state.objective, WeightedSum)
            parts = state.objective.parts
            assert parts.teacher is not None
            reference = parts.reference is not None and parts.reference.compiles
            result.append((parts.extractor is not None, parts.teacher.compiles, reference))
            state.end_stage()
    return result


def test_long_stages_of_large_networks_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute_policy, "TRAINING_WORTHWHILE", float("inf"))
    teacher, student = macs(tiny.teacher(), tiny.SHAPE), macs(tiny.student(), tiny.SHAPE)
    assert teacher > student
    for least, expected in (
        (tiny.TRAIN * teacher, [(True, False), (True, 9 * student >= teacher)]),
        (9 * tiny.TRAIN * student, [(teacher >= 9 * student, False), (True, True)]),
        (9 * tiny.TRAIN * teacher, [(False, False), (True, False)]),
        (9 * tiny.TRAIN * teacher + 1, [(False, False), (False, False)]),
    ):
        monkeypatch.setattr(compute_policy, "WORTHWHILE", least)
        assert choices(made()) == [(False, *frozen) for frozen in expected]


def test_students_do_in_long_stages_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    least = 3 * 100 * macs(tiny.student(), tiny.SHAPE)
    monkeypatch.setattr(compute_policy, "device_of", lambda example: torch.device("cuda"))
    monkeypatch.setattr(compute_policy, "TRAINING_WORTHWHILE_ON_A_GPU", least)
    for compile_mode, images, expected in (
        ("auto", 99, False),
        ("auto", 100, True),
        ("on", 1, True),
        ("off", 100, False),
    ):
        compute = ComputeConfig(precision="bf16", compile=compile_mode)
        policy = compute_policy.CompilePolicy(compute, tiny.EXAMPLE, images)
        assert (policy.student(tiny.student()) is not None) == expected
        assert not policy.frozen(Frozen(tiny.teacher(), tiny.EXAMPLE))


def test_students_do_in_long_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    student = macs(tiny.student(), tiny.SHAPE)
    for least, expected in (
        (3 * tiny.TRAIN * student, [True, True]),
        (3 * 9 * tiny.TRAIN * student, [False, True]),
        (3 * 9 * tiny.TRAIN * student + 1, [False, False]),
    ):
        monkeypatch.setattr(compute_policy, "TRAINING_WORTHWHILE", least)
        assert [choice[0] for choice in choices(made())] == expected


@pytest.fixture
def any_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute_policy, "WORTHWHILE", 0)
    monkeypatch.setattr(compute_policy, "TRAINING_WORTHWHILE", 0)


@pytest.mark.usefixtures("any_stage")
@pytest.mark.parametrize("runtime", [{"compile": "off"}, {"precision": "bf16"}], ids=str)
def test_nothing_compiles_if_it_is_off_or_in_low_precision(runtime: dict[str, str]) -> None:
    assert choices(made(**runtime)) == [(False, False, False)] * 2


def test_with_on_everything_compiles_but_frozen_networks_in_low_precision() -> None:
    assert choices(made(compile="on")) == [(True, True, False), (True, True, True)]
    assert choices(made(compile="on", precision="bf16")) == [(True, False, False), (True, False, False)]


@pytest.mark.usefixtures("any_stage")
def test_a_teacher_whose_outputs_are_cached_is_not_compiled() -> None:
    assert choices(made(cache="memory")) == [(True, False, False), (True, False, True)]


def compiled_in(folder: Path) -> list[list[str]]:
    return [stage["cost"]["compiled"] for stage in tiny.summary(folder)["stages"]]


def noting(monkeypatch: pytest.MonkeyPatch, compiler: Any) -> list[Any]:
    """The programs of frozen networks that are compiled from now on."""
    programs: list[Any] = []

    def noted(graph: Any, images: torch.Tensor) -> Any:
        programs.append(compiler(graph, images))
        return programs[-1]

    monkeypatch.setattr(compiled_frozen, "_compile", noted)
    return programs


def test_a_run_that_compiles_is_the_same_as_one_that_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tiny.trained(made(epochs=3), tmp_path / "plain")
    assert compiled_in(tmp_path / "plain") == [[], []]
    monkeypatch.setattr(compute_policy, "WORTHWHILE", 0)
    monkeypatch.setattr(compute_policy, "TRAINING_WORTHWHILE", 0)
    monkeypatch.setattr("smskd.models.compiled.BACKEND", "aot_eager")
    programs = noting(monkeypatch, lambda graph, images: graph)
    fast = tiny.trained(made(epochs=3), tmp_path / "fast")
    assert compiled_in(tmp_path / "fast") == [["student", "teacher"], ["student", "teacher", "reference"]]
    assert len(programs) == 2, "the teacher's, for both stages, and the reference's"
    assert [report.test_top1 for report in fast] == [report.test_top1 for report in plain]
    for one, other in zip(fast, plain, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=2e-5)


@pytest.mark.usefixtures("any_stage")
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_resume_is_exact_with_the_real_compiler_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One stage alone: each program takes seconds to compile."""
    programs = noting(monkeypatch, compiled_frozen._compile)

    def one_stage() -> RunConfig:
        return tiny.built(tiny.recipe([(StageConfig(), ["kd"])], epochs=2))

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    parts.mkdir()
    tiny.trained(one_stage(), whole)
    reports = tiny.epochs_of(one_stage(), parts)
    list(islice(reports, 1))
    reports.close()
    tiny.trained(one_stage(), parts)
    assert len(programs) == 3
    assert compiled_in(whole) == [["student", "teacher"]]
    assert compiled_in(parts) == compiled_in(whole)
    assert tiny.outcome(parts) == tiny.outcome(whole)
