"""Where teacher and reference compile."""

import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import tiny
from smskd.anchors import compiled
from smskd.anchors.true_class import TrueClass
from smskd.engine import compilation
from smskd.engine.cache import CacheOptions
from smskd.engine.run import run
from smskd.engine.setup import Setup
from smskd.engine.step import Numerics
from smskd.engine.store import RunFolder
from smskd.engine.trainee import Trainee
from smskd.models import macs
from smskd.recipe import StageSpec

FULL = Numerics()


def made(numerics: Numerics = FULL, cache: Any = "off") -> Setup:
    """A stage of one epoch, and one of nine with a reference."""
    planned = tiny.stages([(StageSpec(until=1), ["kd"]), (StageSpec(until=10), ["kd"])], epochs=10, anchor=TrueClass())
    setup = tiny.setup(planned)
    return replace(setup, numerics=numerics, cache=CacheOptions(cache), orbit=setup.train.orbit)  # type: ignore[attr-defined]


def choices(setup: Setup) -> list[tuple[bool, bool]]:
    """Of teacher and reference, in each stage."""
    trainee, result = Trainee(setup), []
    for index, stage in enumerate(setup.stages):
        trainee.enter(stage, index)
        teacher, reference = trainee.objective.teacher, trainee.objective.reference
        assert teacher is not None
        result.append((teacher.compiles, reference is not None and reference.compiles))
        trainee.reference = trainee.objective.frozen()
    return result


def test_long_stages_of_large_networks_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, student = macs(tiny.teacher(), tiny.SHAPE), macs(tiny.student(), tiny.SHAPE)
    assert teacher > student
    for least, expected in (
        (tiny.TRAIN * teacher, [(True, False), (True, 9 * student >= teacher)]),
        (9 * tiny.TRAIN * student, [(teacher >= 9 * student, False), (True, True)]),
        (9 * tiny.TRAIN * teacher, [(False, False), (True, False)]),
        (9 * tiny.TRAIN * teacher + 1, [(False, False), (False, False)]),
    ):
        monkeypatch.setattr(compilation, "WORTHWHILE", least)
        assert choices(made()) == expected


@pytest.mark.parametrize("numerics", [Numerics(compile="off"), Numerics("bf16"), Numerics("bf16", "on")])
def test_nothing_does_if_not_asked_to_or_in_low_precision(numerics: Numerics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "WORTHWHILE", 0)
    assert choices(made(numerics)) == [(False, False), (False, False)]


def test_with_on_all_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "WORTHWHILE", float("inf"))
    assert choices(made(Numerics(compile="on"))) == [(True, False), (True, True)]


def test_a_teacher_whose_outputs_are_cached_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "WORTHWHILE", 0)
    assert choices(made(cache="memory")) == [(False, False), (False, True)]


def test_a_run_that_compiles_is_the_same_as_one_that_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tiny.trained(made(), tmp_path / "plain")
    monkeypatch.setattr(compilation, "WORTHWHILE", 0)
    programs: list[Any] = []

    def noted(graph: Any, pictures: torch.Tensor) -> Any:
        programs.append(graph)
        return graph

    monkeypatch.setattr(compiled, "_compile", noted)
    fast = tiny.trained(made(), tmp_path / "fast")
    stages = tiny.summary(tmp_path / "fast")["stages"]
    assert [stage["cost"]["compiled"] for stage in stages] == [["teacher"], ["teacher", "reference"]]
    assert len(programs) == 2  # the teacher's, for both stages, and the reference's
    assert [report.test_top1 for report in fast] == [report.test_top1 for report in plain]
    for one, other in zip(fast, plain, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=2e-5)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_with_the_real_compiler_too_resume_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "WORTHWHILE", 0)
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
    assert tiny.outcome(parts) == tiny.outcome(whole)
