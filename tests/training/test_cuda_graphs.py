"""What is done on a GPU to keep it busy, on the CPU: frozen networks that look ahead, and steps that are recorded by
something that calls them again."""

import random
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from smskd.anchors.reference_kl import ReferenceKL
from smskd.data import MemoryLoader
from smskd.data.loaders import batching as together
from smskd.interfaces.batch import Batch
from smskd.objective.weighted_sum import Objective
from smskd.recipe import OptimizerSpec, StageSpec
from smskd.runs.folder import RunFolder
from smskd.teacher_cache import CacheConfig
from smskd.training import step as step_file
from smskd.training.config import RunConfig
from smskd.training.cuda_graphs import Doing, GraphedStep, RngSnapshot
from smskd.training.epoch import EpochReport
from smskd.training.run import run
from smskd.training.step import Step
from tests.support import tiny

SLOW = OptimizerSpec(learning_rate=1e-3)
"""Fast training would make much of small differences."""


class CallsAgain:
    """Stands for a CUDA graph: what is recorded is called at each replay.

    Args:
        generators: not needed.
    """

    def __init__(self, generators: Callable[[], Iterable[torch.Generator]] | None = None) -> None:
        self._function: Callable[[], None] | None = None
        self.recordings = 0

    def record(self, function: Callable[[], None]) -> None:
        self._function = function
        self.recordings += 1

    def replay(self) -> None:
        assert self._function is not None
        self._function()


class CannotRecord(CallsAgain):
    def record(self, function: Callable[[], None]) -> None:
        super().record(function)
        raise RuntimeError("operation not permitted when stream is capturing")


def batch(first: float, size: int = 2) -> Batch:
    return Batch(torch.full((size, 1, 1, 1), first), torch.arange(size))


class TestRecorded:
    def recorded(self, recorder: CallsAgain) -> tuple[GraphedStep, list[tuple[int, float]], list[str]]:
        trained: list[tuple[int, float]] = []
        done: list[str] = []

        def train(some: Batch) -> None:
            trained.append((id(some), float(some.x[0])))

        def watch(doing: Doing) -> AbstractContextManager[None]:
            done.append(doing)
            return nullcontext()

        return GraphedStep(train, recorder, watch), trained, done

    def test_the_second_batch_is_recorded_and_the_like_are_replayed(self) -> None:
        recorder = CallsAgain()
        recorded, trained, done = self.recorded(recorder)
        sizes = [2, 2, 2, 2, 1]
        batches = [batch(float(number), size) for number, size in enumerate(sizes)]
        for some in batches:
            recorded(some)
        assert [value for _, value in trained] == [0, 1, 2, 3, 4]
        assert done == ["record", "replay", "replay", "replay"]
        assert recorder.recordings == 1
        assert trained[1][0] == trained[2][0] == trained[3][0]
        assert [trained[place][0] == id(batches[place]) for place in range(5)] == [True, False, False, False, True]
        assert [float(some.x[0]) for some in batches] == [0, 1, 2, 3, 4]

    def test_what_cannot_be_recorded_is_done_as_it_is(self) -> None:
        recorder = CannotRecord()
        recorded, trained, done = self.recorded(recorder)
        for number in range(4):
            recorded(batch(float(number)))
        assert [value for _, value in trained] == [0, 1, 2, 3]
        assert (done, recorder.recordings, recorded.works) == (["record"], 1, False)


@pytest.fixture(params=["ahead", "recorded", "both"])
def busy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes steps as they are on a GPU, from when it is called."""

    def begin() -> None:
        if request.param != "recorded":
            monkeypatch.setitem(together.VALUES, "cpu", 2 * 8 * 64)
        if request.param != "ahead":
            records_by(CallsAgain, monkeypatch)

    return begin


def records_by(recorder: type[CallsAgain], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_file, "CudaGraphCapture", recorder)
    init = Step.__init__

    def recording(self: Step, *arguments: Any) -> None:
        init(self, *arguments)
        self.records = True

    monkeypatch.setattr(Step, "__init__", recording)


def setup(cache: Any = "off", methods: Any = ("fitnet", tiny.SMALL_CRD)) -> RunConfig:
    """Two stages, of batches of 8 and a last one of 4."""
    planned = tiny.stages(
        [(StageSpec(until=2), list(methods)), (StageSpec(until=4), ["kd", "mlkd"])], epochs=4, anchor=ReferenceKL()
    )
    made = tiny.setup(planned, optimizer=SLOW, batch_size=8)
    assert isinstance(made.train, MemoryLoader)
    return replace(made, cache=CacheConfig(cache), augmentation_space=made.train.augmentation_space)


def check_near(some: list[EpochReport], others: list[EpochReport]) -> None:
    for one, other in zip(some, others, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=2e-5)
        assert (one.test_top1, one.cache_hits) == (other.test_top1, other.cache_hits)
        assert one.train_top1 == other.train_top1


@pytest.mark.parametrize("cache", ["off", "memory"])
def test_a_run_is_the_same(cache: Any, busy: Callable[[], None], tmp_path: Path) -> None:
    plain = tiny.trained(setup(cache, ["kd", tiny.SMALL_CRD]), tmp_path / "plain")
    busy()
    check_near(tiny.trained(setup(cache, ["kd", tiny.SMALL_CRD]), tmp_path / "busy"), plain)


def test_resume_is_exact(busy: Callable[[], None], tmp_path: Path) -> None:
    busy()
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    parts.mkdir()
    tiny.trained(setup(), whole)
    reports = run(setup(), RunFolder(parts))
    list(islice(reports, 1))
    reports.close()
    tiny.trained(setup(), parts)
    assert tiny.outcome(parts) == tiny.outcome(whole)


def test_recorded_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.trained(setup(), tmp_path / "plain")
    records_by(CallsAgain, monkeypatch)
    tiny.trained(setup(), tmp_path / "recorded")
    weights = [tiny.written(tmp_path / name / "student.safetensors") for name in ("plain", "recorded")]
    assert weights[0] == weights[1]
    for name, expected in (("plain", False), ("recorded", True)):
        assert [stage["cost"]["replayed"] for stage in tiny.summary(tmp_path / name)["stages"]] == [expected] * 2


def test_what_cannot_be_recorded_is_tried_once_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    class Fails(CannotRecord):
        def record(self, function: Callable[[], None]) -> None:
            tries.append(1)
            super().record(function)

    plain = tiny.trained(setup(), tmp_path / "plain")
    records_by(Fails, monkeypatch)
    check_near(tiny.trained(setup(), tmp_path / "tried"), plain)
    assert len(tries) == 2
    assert [stage["cost"]["replayed"] for stage in tiny.summary(tmp_path / "tried")["stages"]] == [False] * 2


def test_frozen_networks_see_several_batches_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    frozen_forward = Objective.frozen_forward

    def noted(self: Objective, some: Batch, *arguments: Any) -> Any:
        sizes.append(len(some.y))
        return frozen_forward(self, some, *arguments)

    monkeypatch.setattr(Objective, "look", noted)
    monkeypatch.setitem(together.VALUES, "cpu", 3 * 8 * 64)
    tiny.trained(setup(), tmp_path)
    assert sizes == [24, 24, 12] * 4


class TestChance:
    @pytest.mark.parametrize(
        "draw",
        [
            lambda own: torch.rand(()),
            lambda own: np.random.rand(),
            lambda own: random.random(),
            lambda own: torch.rand((), generator=own),
        ],
        ids=["torch", "numpy", "python", "own"],
    )
    def test_draws_are_seen_and_put_back(self, draw: Callable[[torch.Generator], Any]) -> None:
        own = torch.Generator().manual_seed(3)
        chance = RngSnapshot([own])
        assert not chance.moved_on_the_cpu
        first = draw(own)
        assert chance.moved_on_the_cpu
        chance.restore()
        assert not chance.moved_on_the_cpu
        assert draw(own) == first
