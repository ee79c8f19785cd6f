"""`smskd bench step`: training steps, timed in turn with steps of the baseline loop."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from itertools import count, islice
from pathlib import Path
from statistics import median
from typing import Any

from smskd.bench.baseline_process import BaselineProcess
from smskd.bench.baseline_turns import baseline_dataset, baseline_options
from smskd.bench.case import Case, random_dataset, write_teacher
from smskd.bench.measures import WARM_UP, increase, measures, speed
from smskd.build import Provided, build
from smskd.data import Dataset
from smskd.data.loaders.batching import BatchGroup, coalesced_batches
from smskd.interfaces.batch import Progress
from smskd.strategies.resolve import resolve
from smskd.training.compute_policy import fitting_threads
from smskd.training.config import RunConfig
from smskd.training.epoch import train_batches
from smskd.training.globals import computing, preserved_globals
from smskd.training.host import environment, keep_freed_memory, memory_in_use, peak_memory, reset_peak_memory
from smskd.training.not_finite import check_finite
from smskd.training.state import TrainingState

FORMAT = 2

_TURN_STEPS = {"cuda": 64}
_DEFAULT_TURN_STEPS = 4
"""Timed steps of a turn, by type of device and elsewhere: few, since the speed of a machine changes within seconds."""


class TimedLoop:
    """The loop of ``smskd train`` in the stage that is timed.

    The frozen networks are evaluated for ``group`` batches at once; only whole groups of that many steps are timed.

    Args:
        config: of the recipe of a case; its last stage is timed.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        keep_freed_memory(config.device)
        self.state = TrainingState(config)
        for index in range(len(config.recipe.stages)):
            if index:
                self.state.end_stage()
            self.state.begin_stage(index)
        self.step = self.state.step
        self.group = coalesced_batches(self.step.device, self.state.stage.batch_size, config.input_form)
        self.warm_up = max(WARM_UP, self.group)
        self.batches = iter(self.step.batches(self._endless()))

    def turn(self, steps: int) -> float:
        """Trains and times some steps after a warm-up; returns images per second.

        Raises:
            UserError: a loss is not finite.
        """
        timed = range(self.warm_up, self.warm_up + steps)
        with computing(self.config.recipe.runtime), fitting_threads(self.config):
            metrics = train_batches(self.step, islice(self.batches, timed.stop), timed=timed)
        check_finite(metrics.means()[0], metrics.first_not_finite(), "while it was timed")
        return speed(self.step.clock, steps)

    def fill_cache(self, turns: Sequence[int]) -> None:
        """Writes the teacher's outputs for the batches of these turns to its cache."""
        batches = sum(turns) + len(turns) * self.warm_up
        for group in islice(self._endless(), -(-batches // self.group)):
            self.step.frozen_forward(group.batch)

    def turns(self, steps: int) -> list[int]:
        """The timed steps of each turn: whole groups, at least ``steps`` in total."""
        turn_steps = _TURN_STEPS.get(self.step.device.type, _DEFAULT_TURN_STEPS)
        each, total = (-(-number // self.group) * self.group for number in (turn_steps, steps))
        return [min(each, total - done) for done in range(0, total, each)]

    def _endless(self) -> Iterator[BatchGroup]:
        for epoch in count(1):
            yield from self.config.loaders[-1].groups(epoch, Progress(), self.state.objective.views)


def bench_step(case: Case) -> dict[str, Any]:
    """Times a case.

    Returns:
        The options of the case; ``images_per_second``, ``step_milliseconds`` and ``milliseconds`` by part, medians over
        the steps, on a GPU means; ``peak_memory_bytes`` above the memory in use before; ``baseline``, the same
        measures of the baseline loop; ``ratio``, images per second relative to the baseline loop's, the median over the
        turns; and ``environment``. ``baseline`` and ``ratio`` are None for a method that the baseline loop does not
        have.

    Raises:
        UserError: a model, method or device does not exist, or they do not fit each other.
    """
    case.recipe()
    dataset = random_dataset(case)
    config = built(case, dataset)
    device = config.device
    data = baseline_dataset(case, dataset)
    before = memory_in_use(device)
    reset_peak_memory(device)
    with preserved_globals():
        loop = TimedLoop(config)
    turns = loop.turns(case.steps)
    first = loop.group
    if case.cache != "off":
        loop.fill_cache([first, *turns])
    loop.turn(first)  # not counted: code is compiled, memory is allocated
    memory = increase(peak_memory(device), before)
    loop.step.clock.reset()
    with ExitStack() as stack:
        baseline = None
        if data is not None:
            options = baseline_options(config, loop.state.objective)
            baseline = stack.enter_context(BaselineProcess(options, data))
        ratios = _time_in_turn(loop, baseline, turns)
        baseline_measures = baseline.measures() if baseline is not None else None
    return {
        "format": FORMAT,
        **asdict(case),
        "steps": sum(turns),
        "device": str(device),
        **measures(loop.step.clock, memory),
        "baseline": baseline_measures,
        "ratio": round(median(ratios), 3) if ratios else None,
        "environment": environment(device, tf32=config.recipe.runtime.tf32),
    }


def built(case: Case, dataset: Dataset) -> RunConfig:
    """The run of a case, with a teacher whose weights are random."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "teacher.safetensors"
        with preserved_globals():
            write_teacher(case, dataset, weights)
            return build(resolve(case.recipe(weights)), Provided(dataset=dataset))


def _time_in_turn(loop: TimedLoop, baseline: BaselineProcess | None, turns: Sequence[int]) -> list[float]:
    """Times both loops in turn; returns the ratio of each turn, none without a baseline."""
    ratios = []
    for steps in turns:
        own = loop.turn(steps)
        if baseline is not None:
            ratios.append(own / baseline.turn(steps))
    return ratios
