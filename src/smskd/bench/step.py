"""`smskd bench step`: steps of training, timed in turn with steps of the plain loop."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from itertools import count, islice
from pathlib import Path
from statistics import median
from typing import Any

from smskd.bench.baseline_process import WARM_UP, UsualProcess, measured, more, plain_data, speed, usual_options
from smskd.bench.case import Case, random_pictures, write_teacher
from smskd.build import assemble
from smskd.data import Dataset
from smskd.interfaces.batch import Batch, Progress
from smskd.training.compute_policy import fitting_threads
from smskd.training.config import RunConfig
from smskd.training.epoch import check_finite, train_batches
from smskd.training.host import environment, forget_peak, keep_freed_memory, memory_in_use, peak_memory
from smskd.training.state import TrainingState

FORMAT = 1

_ROUNDS = {"cuda": 64}
_ROUND = 4
"""Timed steps of one loop before it is the other's turn, by type of device and elsewhere: few, since a machine's speed
changes within seconds."""


class OurLoop:
    """The loop of ``smskd train``, in the stage that is timed.

    Args:
        setup: of the case's recipe; its last stage is timed.

    The frozen networks look at ``together`` batches at once: whole groups of that many steps are timed.
    """

    def __init__(self, setup: RunConfig) -> None:
        self.setup = setup
        keep_freed_memory(setup.example.device)
        self.trainee = TrainingState(setup)
        for index, stage in enumerate(setup.stages):
            if index:
                self.trainee.reference = self.trainee.objective.frozen()
            self.step = self.trainee.enter(stage, index)
        self.together = self.step.ahead
        self.warm_up = max(WARM_UP, self.together)
        self.batches = self._endless()

    def turn(self, steps: int) -> float:
        """Trains and times some steps, after a warm-up; gives their images a second."""
        timed = range(self.warm_up, self.warm_up + steps)
        with fitting_threads(self.setup):
            sums = train_batches(self.step, islice(self.batches, timed.stop), timed=timed)
        check_finite(sums.means()[0], sums.first_broken(), "while it was timed")
        return speed(self.step.clock, steps)

    def fill_cache(self, turns: Sequence[int]) -> None:
        """Looks once at the batches of these turns: then the teacher's outputs are in its cache."""
        for batch in islice(self._endless(), sum(turns) + len(turns) * self.warm_up):
            self.step.frozen_forward(batch)

    def rounds(self, steps: int) -> list[int]:
        """The turns in which at least so many steps are timed."""
        each, total = (
            -(-count // self.together) * self.together for count in (_ROUNDS.get(self.step.device.type, _ROUND), steps)
        )
        return [min(each, total - done) for done in range(0, total, each)]

    def _endless(self) -> Iterator[Batch]:
        for epoch in count(1):
            yield from self.setup.train.epoch(epoch, Progress(), self.trainee.objective.views)


def bench_step(case: Case) -> dict[str, Any]:
    """Times a case.

    Returns:
        The case; ``images_per_second``, ``step_milliseconds`` and ``milliseconds`` by part, medians over the steps;
        ``peak_memory_bytes`` beyond the pictures; ``plain``, the same of the plain loop, and ``ratio``, how many times
        as many images a second there are, the median over the turns; both None for a method that the plain loop does
        not have; and the environment.

    Raises:
        UserError: there is no such model, method or device, or they do not fit each other.
    """
    case.recipe()
    pictures = random_pictures(case)
    setup = assembled(case, pictures)
    device = setup.example.device
    data = plain_data(case, pictures)
    before = memory_in_use(device)
    forget_peak(device)
    ours = OurLoop(setup)
    rounds = ours.rounds(case.steps)
    first = ours.together
    if case.cache != "off":
        ours.fill_cache([first, *rounds])
    ours.turn(first)  # before those that count: code is compiled, memory is asked for
    memory = more(peak_memory(device), before)
    ours.step.clock.forget()
    usual, ratios = None, []
    with ExitStack() as stack:
        theirs = None
        if data is not None:
            theirs = stack.enter_context(UsualProcess(usual_options(setup, ours.trainee.objective), data))
        for steps in rounds:
            own = ours.turn(steps)
            if theirs is not None:
                ratios.append(own / theirs.turn(steps))
        if theirs is not None:
            usual = theirs.measured()
    result = measured(ours.step.clock, memory)
    return {
        "format": FORMAT,
        **asdict(case),
        "steps": sum(rounds),
        "device": str(device),
        **result,
        "plain": usual,
        "ratio": round(median(ratios), 3) if ratios else None,
        "environment": environment(device),
    }


def assembled(case: Case, pictures: Dataset) -> RunConfig:
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "teacher.safetensors"
        write_teacher(case, pictures, weights)
        return assemble(case.recipe(weights), pictures)
