"""The clock: parts that add up to the step, nothing while it does not time, and a training it does not change."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch

from smskd import timing as clock_file
from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.stage import StageConfig
from smskd.interfaces.batch import Batch
from smskd.timing import IDLE, PARTS, REPLAYED, Clock, sampled_steps
from smskd.training.epoch import train_batches
from smskd.training.globals import preserved_globals
from smskd.training.state import TrainingState
from tests.support import tiny


class Ticks:
    """A clock that advances only where the test advances it."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Ticks:
    made = Ticks()
    monkeypatch.setattr(clock_file, "time", made)
    return made


def batches(ticks: Ticks, count: int, size: int = 8) -> Iterator[Batch]:
    for _ in range(count):
        ticks.now += 0.001
        yield Batch(torch.zeros(size, 1, 2, 2), torch.zeros(size, dtype=torch.int64))


def test_parts_add_up_to_the_step(ticks: Ticks) -> None:
    clock = Clock()
    for _ in clock.steps(batches(ticks, 4), {1, 2, 3}):
        with clock.part("losses"):
            ticks.now += 0.002
            with clock.part("teacher"):
                ticks.now += 0.004
            ticks.now += 0.008
        ticks.now += 0.016
        with clock.part("backward"):
            ticks.now += 0.032
    cost = clock.cost()
    assert cost is not None
    assert set(cost.milliseconds) == set(PARTS)
    shown = {part: value for part, value in cost.milliseconds.items() if value}
    assert shown == {"data": 1, "losses": 10, "teacher": 4, "other": 16, "backward": 32}
    assert cost.step_milliseconds == 63
    assert cost.images_per_second == pytest.approx(8 / 0.063, abs=0.1)


def test_the_median_of_several_steps(ticks: Ticks) -> None:
    clock = Clock()
    for number, _ in enumerate(clock.steps(batches(ticks, 5), range(5))):
        with clock.part("optimizer"):
            ticks.now += (0.1, 0.002, 0.003, 0.5, 0.003)[number]
    cost = clock.cost()
    assert cost is not None
    assert cost.milliseconds["optimizer"] == 3
    of_last = clock.cost(last=2)
    assert of_last is not None
    assert of_last.milliseconds["optimizer"] == pytest.approx(251.5)


def test_only_the_chosen_steps_are_timed(ticks: Ticks) -> None:
    clock = Clock()
    asked = []
    for number, _ in enumerate(clock.steps(batches(ticks, 5), {1, 3})):
        asked.append(clock.part("losses") is not IDLE.part("losses"))
        with clock.part("losses"):
            ticks.now += 0.001 if number in (1, 3) else 1.0
    assert asked == [False, True, False, True, False]
    cost = clock.cost()
    assert cost is not None
    assert cost.milliseconds["losses"] == 1


def test_a_clock_that_times_nothing_has_no_cost(ticks: Ticks) -> None:
    clock = Clock()
    assert sum(1 for _ in clock.steps(batches(ticks, 3))) == 3
    assert clock.cost() is None


def test_a_loop_that_is_left_leaves_nothing_open(ticks: Ticks) -> None:
    clock = Clock()
    steps = clock.steps(batches(ticks, 3), {0, 1, 2})
    next(steps)
    with pytest.raises(KeyError), clock.part("losses"):
        raise KeyError
    steps.close()
    assert clock.part("losses") is IDLE.part("losses")
    assert clock.cost() is None


@pytest.mark.parametrize(
    ("steps", "timed"),
    [(1, range(1)), (3, range(2, 3)), (5, range(4, 5)), (9, range(4, 9)), (1000, range(4, 14))],
)
def test_short_epochs_are_timed_too(steps: int, timed: range) -> None:
    assert sampled_steps(steps) == timed


def test_a_replay_is_divided_as_it_was_captured(ticks: Ticks) -> None:
    clock = Clock()
    for number, _ in enumerate(clock.steps(batches(ticks, 3), {1, 2})):
        if number == 0:
            with clock.capturing(True):
                with clock.part("losses"):
                    ticks.now += 0.003
                with clock.part("backward"):
                    ticks.now += 0.006
                ticks.now += 0.001
        else:
            with clock.part(REPLAYED):
                ticks.now += 0.020
    cost = clock.cost()
    assert cost is not None
    shown = {part: value for part, value in cost.milliseconds.items() if value}
    assert shown == {"data": 1, "losses": 6, "backward": 12, "other": 2}
    assert cost.step_milliseconds == 21


def test_a_replay_of_an_untimed_capture_is_other(ticks: Ticks) -> None:
    clock = Clock()
    for _ in clock.steps(batches(ticks, 2), {1}):
        with clock.capturing(False), clock.part("losses"):
            ticks.now += 0.005
        with clock.part(REPLAYED):
            ticks.now += 0.020
    cost = clock.cost()
    assert cost is not None
    assert {part: value for part, value in cost.milliseconds.items() if value} == {"data": 1, "other": 25}


@pytest.mark.parametrize(
    ("steps", "group", "timed"),
    [(1000, 16, range(16, 48)), (40, 16, range(16, 40)), (10, 16, range(9, 10)), (1, 16, range(1))],
)
def test_coalesced_batches_are_timed_together(steps: int, group: int, timed: range) -> None:
    assert sampled_steps(steps, group) == timed


def fail_to_capture(clock: Clock, ticks: Ticks) -> None:
    with clock.capturing(True), clock.part("losses"):
        ticks.now += 0.005
        raise RuntimeError("operation not permitted when stream is capturing")


def test_a_capture_that_fails_leaves_no_events(ticks: Ticks) -> None:
    """The device never recorded them; what is replayed later is not divided by them."""
    clock = Clock()
    for number, _ in enumerate(clock.steps(batches(ticks, 2), {0, 1})):
        if number == 0:
            with pytest.raises(RuntimeError, match="capturing"):
                fail_to_capture(clock, ticks)
            with clock.part("backward"):
                ticks.now += 0.006
        else:
            with clock.part(REPLAYED):
                ticks.now += 0.020
    first, second = clock.cost(last=1), clock.cost()
    assert first is not None
    assert second is not None
    assert {part: value for part, value in first.milliseconds.items() if value} == {"data": 1, "other": 20}
    assert second.milliseconds["losses"] == 0
    assert second.milliseconds["backward"] == 3


def test_a_capture_that_fails_after_another_forgets_that_one(ticks: Ticks) -> None:
    clock = Clock()
    for _ in clock.steps(batches(ticks, 1), {0}):
        with clock.capturing(True), clock.part("losses"):
            ticks.now += 0.003
        with pytest.raises(RuntimeError, match="capturing"):
            fail_to_capture(clock, ticks)
        with clock.part(REPLAYED):
            ticks.now += 0.020
    cost = clock.cost()
    assert cost is not None
    assert cost.milliseconds["losses"] == 0


def second_stage() -> TrainingState:
    stages = [(StageConfig(ends_after=1), ["fitnet"]), (StageConfig(), ["kd"])]
    with preserved_globals():
        state = TrainingState(tiny.built(tiny.recipe(stages, epochs=2, anchor=ReferenceKL())))
        state.begin_stage(0)
        state.end_stage()
        state.begin_stage(1)
    return state


def test_training_is_the_same_whether_it_is_timed_or_not() -> None:
    results = []
    for timed in ((), range(3)):
        state = second_stage()
        with preserved_globals():
            torch.manual_seed(3)
            train_batches(state.step, state.config.loaders[1].epoch(1), timed=timed)
            results.append((tiny.bits(state.student), torch.get_rng_state()))
    assert tiny.same(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_every_part_of_a_step_comes_up() -> None:
    state = second_stage()
    train_batches(state.step, state.config.loaders[1].epoch(1), timed=range(3))
    cost = state.clock.cost()
    assert cost is not None
    assert all(cost.milliseconds[part] > 0 for part in PARTS if part != "other")


def test_a_run_times_the_first_epoch_of_each_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[list[int]] = []
    steps = Clock.steps

    def noted(self: Clock, batches: Iterable[Batch], sampled: Iterable[int] = ()) -> Iterator[Batch]:
        timed.append(list(sampled))
        return steps(self, batches, timed[-1])

    monkeypatch.setattr(Clock, "steps", noted)
    stages = [(StageConfig(ends_after=2), ["kd"]), (StageConfig(), ["sp"])]
    tiny.trained(tiny.built(tiny.recipe(stages, epochs=4)), tmp_path)
    assert timed == [[2], [], [2], []]
