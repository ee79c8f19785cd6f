"""The logic of captured steps and of precomputed frozen outputs, on the CPU: a graph is a function that is called
again."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.cache import CacheMode
from smskd.config.stage import StageConfig
from smskd.data.loaders import batching
from smskd.interfaces.batch import Batch, FrozenOutputs
from smskd.training import step as step_module
from smskd.training.config import RunConfig
from smskd.training.cuda_graphs import GraphedStep, Phase
from smskd.training.reports import EpochReport
from smskd.training.step import Step
from tests.support import tiny
from tests.support.nearly_equal import SLOW, cached_teacher, check_near


class CallsAgain:
    """Stands for a CUDA graph: the captured function is called at each replay.

    Args:
        generators: not needed.
    """

    def __init__(self, generators: Callable[[], Iterable[torch.Generator]] | None = None) -> None:
        self._function: Callable[[], None] | None = None
        self.captures = 0

    def capture(self, function: Callable[[], None]) -> None:
        self._function = function
        self.captures += 1

    def replay(self) -> None:
        assert self._function is not None
        self._function()


class CannotCapture(CallsAgain):
    def capture(self, function: Callable[[], None]) -> None:
        super().capture(function)
        raise RuntimeError("operation not permitted when stream is capturing")


def batch(first: float, size: int = 2) -> Batch:
    return Batch(torch.full((size, 1, 1, 1), first), torch.arange(size))


class TestGraphedStep:
    def graphed(self, graph: CallsAgain) -> tuple[GraphedStep, list[tuple[int, float]], list[str]]:
        trained: list[tuple[int, float]] = []
        phases: list[str] = []

        def train(some: Batch) -> None:
            trained.append((id(some), float(some.x[0])))

        def watch(phase: Phase) -> AbstractContextManager[None]:
            phases.append(phase)
            return nullcontext()

        return GraphedStep(train, graph, watch), trained, phases

    def test_the_second_batch_is_captured_and_those_like_it_are_replayed(self) -> None:
        graph = CallsAgain()
        step, trained, phases = self.graphed(graph)
        sizes = [2, 2, 2, 2, 1]
        batches = [batch(float(number), size) for number, size in enumerate(sizes)]
        for some in batches:
            step(some)
        assert [value for _, value in trained] == [0, 1, 2, 3, 4]
        assert phases == ["capture", "replay", "replay", "replay"]
        assert graph.captures == 1
        assert trained[1][0] == trained[2][0] == trained[3][0]
        assert [trained[place][0] == id(batches[place]) for place in range(5)] == [True, False, False, False, True]
        assert [float(some.x[0]) for some in batches] == [0, 1, 2, 3, 4]

    def test_the_outputs_of_frozen_networks_are_copied_in_too(self) -> None:
        seen: list[float] = []
        step = GraphedStep(
            lambda some: seen.append(float(some.outputs.teacher[None][0])),  # type: ignore[union-attr, index, call-overload]
            CallsAgain(),
            lambda phase: nullcontext(),
        )
        for number in range(4):
            outputs = FrozenOutputs({None: torch.full((2,), float(number))})  # type: ignore[dict-item]
            step(replace(batch(0.0), outputs=outputs))
        assert seen == [0, 1, 2, 3]

    def test_a_step_that_cannot_be_captured_is_eager(self) -> None:
        graph = CannotCapture()
        step, trained, phases = self.graphed(graph)
        for number in range(4):
            step(batch(float(number)))
        assert [value for _, value in trained] == [0, 1, 2, 3]
        assert (phases, graph.captures, step.works) == (["capture"], 1, False)


@pytest.fixture(params=["precomputed", "captured", "both"])
def accelerate(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes steps as they are on a GPU, from when it is called."""

    def begin() -> None:
        if request.param != "captured":
            monkeypatch.setitem(batching.VALUES, "cpu", 2 * 8 * 64)
        if request.param != "precomputed":
            capture_by(CallsAgain, monkeypatch)

    return begin


def capture_by(graph: type[CallsAgain], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_module, "CudaGraph", graph)
    init = Step.__init__

    def capturing(self: Step, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        self.captures = True

    monkeypatch.setattr(Step, "__init__", capturing)


def made(cache: CacheMode = "off", methods: tiny.Methods = ("fitnet", tiny.SMALL_CRD)) -> RunConfig:
    """Two stages, of batches of 8 and a last one of 4."""
    stages: list[tuple[StageConfig, tiny.Methods]] = [
        (StageConfig(ends_after=2), methods),
        (StageConfig(), ["kd", "mlkd"]),
    ]
    return tiny.built(
        tiny.recipe(stages, epochs=4, anchor=ReferenceKL(), optimizer=SLOW, batch_size=8, teacher=cached_teacher(cache))
    )


def replayed(folder: Path) -> list[bool]:
    return [stage["cost"]["replayed"] for stage in tiny.summary(folder)["stages"]]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[CacheMode, list[EpochReport]]:
    """The same run without either."""
    modes: tuple[CacheMode, ...] = ("off", "memory")
    return {
        cache: tiny.trained(made(cache, ["kd", tiny.SMALL_CRD]), tmp_path_factory.mktemp("plain")) for cache in modes
    }


@pytest.mark.parametrize("cache", ["off", "memory"])
def test_a_run_is_the_same(
    cache: CacheMode,
    plain: dict[CacheMode, list[EpochReport]],
    accelerate: Callable[[], None],
    tmp_path: Path,
) -> None:
    accelerate()
    check_near(tiny.trained(made(cache, ["kd", tiny.SMALL_CRD]), tmp_path), plain[cache])
    assert [report.cache_hits is not None for report in plain[cache]] == [cache == "memory"] * 2 + [False] * 2


def test_resume_is_exact(accelerate: Callable[[], None], tmp_path: Path) -> None:
    accelerate()
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    parts.mkdir()
    tiny.trained(made(), whole)
    reports = tiny.epochs_of(made(), parts)
    list(islice(reports, 1))
    reports.close()
    tiny.trained(made(), parts)
    assert tiny.outcome(parts) == tiny.outcome(whole)


def test_captured_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.trained(made(), tmp_path / "plain")
    capture_by(CallsAgain, monkeypatch)
    tiny.trained(made(), tmp_path / "captured")
    weights = [tiny.written(tmp_path / name / "student.safetensors") for name in ("plain", "captured")]
    assert weights[0] == weights[1]
    assert replayed(tmp_path / "plain") == [False, False]
    assert replayed(tmp_path / "captured") == [True, True]


def test_a_capture_that_fails_is_tried_once_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    class Fails(CannotCapture):
        def capture(self, function: Callable[[], None]) -> None:
            tries.append(1)
            super().capture(function)

    plain = tiny.trained(made(), tmp_path / "plain")
    capture_by(Fails, monkeypatch)
    check_near(tiny.trained(made(), tmp_path / "tried"), plain)
    assert len(tries) == 2
    assert replayed(tmp_path / "tried") == [False, False]


def test_frozen_networks_see_several_batches_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    frozen_forward = Step.frozen_forward

    def noted(self: Step, some: Batch) -> FrozenOutputs:
        sizes.append(len(some.y))
        return frozen_forward(self, some)

    monkeypatch.setattr(Step, "frozen_forward", noted)
    monkeypatch.setitem(batching.VALUES, "cpu", 3 * 8 * 64)
    tiny.trained(made(), tmp_path)
    rehearsed = [8, 4] * 2
    assert sizes == rehearsed + [24, 24, 12] * 4
