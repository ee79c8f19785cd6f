"""Spot-adaptive distillation as a strategy: runs, resume and the cache."""

from pathlib import Path
from typing import Any

import pytest
import torch

from smskd.config.cache import CacheConfig
from smskd.config.given import given
from smskd.config.models import TeacherConfig
from smskd.runs.folder import RunFolder
from smskd.strategies.spot_adaptive import SpotAdaptive
from smskd.training.state import TrainingState
from tests.support import own_data, tiny
from tests.support.spots import of_methods, recipe


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    tiny.trained(tiny.built(recipe()), folder)
    return folder


@pytest.mark.parametrize("epochs", [1, 4])
def test_resumed_within_a_stage_it_ends_bit_identical(epochs: int, tmp_path: Path, uninterrupted: Path) -> None:
    reports = tiny.epochs_of(tiny.built(recipe()), tmp_path)
    for _ in range(epochs):
        next(reports)
    reports.close()
    tiny.trained(tiny.built(recipe()), tmp_path)
    assert tiny.outcome(tmp_path) == tiny.outcome(uninterrupted)
    found, expected = (RunFolder(folder).load_checkpoint() for folder in (tmp_path, uninterrupted))
    assert found is not None
    assert expected is not None
    assert any("policy" in key for key in expected.tensors)
    assert tiny.same(dict(found.tensors), dict(expected.tensors))


def test_parts_of_the_loss_are_reported(uninterrupted: Path) -> None:
    lines = tiny.metrics(uninterrupted)
    agent = ["policy.graft", "policy.half"]
    assert list(lines[0]["losses"]) == ["total", "ce", "fitnet", "sp", "kd", *agent]
    crd = ["crd.student", "crd.teacher"]
    assert list(lines[3]["losses"]) == ["total", "ce", *crd, "kd", "anchor", *agent]


def test_the_policy_is_trained(tmp_path: Path) -> None:
    made = tiny.built(of_methods("fitnet"))
    state = TrainingState(made)
    state.begin_stage(0)
    before = tiny.bits(state.objective.agent)  # type: ignore[arg-type]
    for item in tiny.loader().epoch(1):
        state.step(item)
    after = tiny.bits(state.objective.agent)  # type: ignore[arg-type]
    assert not torch.equal(before["policy.net.weight"], after["policy.net.weight"])
    assert not torch.equal(before["grafting.hint.0.conv.weight"], after["grafting.hint.0.conv.weight"])


@pytest.mark.parametrize("decisions", ["reversed", "random"])
def test_the_other_decisions_train(decisions: Any, tmp_path: Path) -> None:
    reports = tiny.trained(tiny.built(of_methods("at", strategy=SpotAdaptive(decisions))), tmp_path)
    assert ("policy.graft" in reports[0].losses) == (decisions == "reversed")


def test_the_cache_holds_what_policy_and_grafted_pass_read(tmp_path: Path) -> None:
    teacher = TeacherConfig(given(tiny.EXAMPLE), cache=CacheConfig(mode="memory"))
    students = []
    for name, cached in (("plain", None), ("cached", teacher)):
        folder = tmp_path / name
        reports = tiny.trained(tiny.built(of_methods("rkd", teacher=cached)), folder)
        students.append(tiny.written(folder / "student.safetensors")["tensors"])
    assert reports[0].cache_hits is not None
    assert not [note for note in tiny.summary(tmp_path / "cached")["notes"] if "cache" in note]


def test_through_distill() -> None:
    students = []
    for strategy in ("spot_adaptive", SpotAdaptive()):
        reports: list[Any] = []
        result = own_data.distilled(
            made=tiny.student(),
            teacher=tiny.teacher(),
            methods=["fitnet"],
            strategy=strategy,
            epochs=1,
            on_epoch=reports.append,
        )
        assert "policy.graft" in reports[0].losses
        students.append(tiny.bits(result.student))
    assert tiny.same(*students)
