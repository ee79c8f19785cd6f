"""`smskd bench step`: steps of training, timed in turn with steps of the plain loop."""

import copy
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch

from smskd.assembly import assemble
from smskd.bench.case import Case, random_pictures, write_teacher
from smskd.data import Dataset
from smskd.engine.clock import Clock, Cost
from smskd.engine.environment import environment
from smskd.engine.fit import check_finite, train_batches
from smskd.engine.memory import forget_peak, memory_in_use, peak_memory
from smskd.engine.setup import Setup
from smskd.engine.threads import fitting_threads
from smskd.engine.trainee import Trainee
from smskd.types import Batch, Progress

FORMAT = 1

_ROUND = 8
"""Timed steps of one loop before it is the other's turn."""

_WARM_UP = 2
"""Steps at the start of each turn that are not timed: caches are cold, and workers have only just begun."""


@dataclass
class Measured:
    """A loop, and how much memory it took."""

    clock: Clock
    memory: int | None

    def result(self) -> dict[str, Any]:
        """What is told of it."""
        cost = self.clock.cost()
        assert isinstance(cost, Cost)
        return {**asdict(cost), "peak_memory_bytes": self.memory}


class OurLoop:
    """The loop of ``smskd train``, in the stage that is timed.

    Args:
        setup: of the case's recipe; its last stage is timed.
        warm: steps for which the teacher's cache is filled beforehand; 0 without a cache.
    """

    def __init__(self, setup: Setup, warm: int = 0) -> None:
        self.setup = setup
        self.trainee = Trainee(setup)
        for index, stage in enumerate(setup.stages):
            if index:
                self.trainee.reference = self.trainee.objective.frozen()
            self.step = self.trainee.enter(stage, index)
        self._fill(warm)
        self._batches = self._endless()

    def turn(self, steps: int) -> None:
        """Trains and times some steps, after a warm-up."""
        timed = range(_WARM_UP, _WARM_UP + steps)
        with fitting_threads(self.setup):
            sums = train_batches(self.step, islice(self._batches, timed.stop), timed=timed)
        check_finite(sums.means()[0], sums.first_broken(), "while it was timed")

    def _fill(self, steps: int) -> None:
        """Computes the losses of the batches to come once: then the teacher's outputs are in its cache."""
        with torch.no_grad():
            for batch in islice(self._endless(), steps):
                self.trainee.objective(batch)

    def _endless(self) -> Iterator[Batch]:
        for epoch in count(1):
            yield from self.setup.train.epoch(epoch, Progress(), self.trainee.objective.views)


class UsualLoop:
    """The plain loop, on the same networks and pictures.

    Args:
        ours: whose student, reference and teacher are copied.
        data: as :func:`plain_data` makes it.
    """

    def __init__(self, ours: OurLoop, data: Any) -> None:
        setup, objective = ours.setup, ours.trainee.objective
        assert objective.teacher is not None
        self.loop = plain().PlainLoop(
            _contiguous(objective.student),
            _contiguous(objective.teacher.model),
            setup.stages[-1].names[0],
            data,
            batch_size=setup.data.batch_size,
            reference=_contiguous(objective.reference.model) if objective.reference else None,
            device=ours.step.device,
            learning_rate=setup.pace.optimizer.learning_rate,
        )

    def turn(self, steps: int) -> None:
        """Trains and times some steps, after a warm-up."""
        timed = range(_WARM_UP, _WARM_UP + steps)
        self.loop.train(self.loop.clock.steps(islice(self._endless(), timed.stop), timed))

    def _endless(self) -> Iterator[Any]:
        while True:
            yield from self.loop.batches()


def bench_step(case: Case) -> dict[str, Any]:
    """Times a case.

    Returns:
        The case; ``images_per_second``, ``step_milliseconds`` and ``milliseconds`` by part, medians over the steps;
        ``peak_memory_bytes`` beyond the pictures; ``plain``, the same of the plain loop, and ``ratio``, how many times
        as many images a second there are, both None for a method that the plain loop does not have; and the
        environment.

    Raises:
        UserError: there is no such model, method or device, or they do not fit each other.
    """
    case.recipe()
    pictures = random_pictures(case)
    rounds = [min(_ROUND, case.steps - done) for done in range(0, case.steps, _ROUND)]
    setup = _setup(case, pictures)
    device = setup.example.device
    data = plain_data(case, pictures)
    before = memory_in_use(device)
    forget_peak(device)
    # A turn before those that count: code is compiled, memory is asked for.
    warm = case.steps + (len(rounds) + 1) * _WARM_UP + 1 if case.cache != "off" else 0
    ours = OurLoop(setup, warm)
    ours.turn(1)
    mine = Measured(ours.step.clock, _more(peak_memory(device), before))
    other = theirs = None
    if data is not None:
        before = memory_in_use(device)
        forget_peak(device)
        other = UsualLoop(ours, data)
        other.turn(1)
        theirs = Measured(other.loop.clock, _more(peak_memory(device), before))
    for measured in (mine, theirs):
        if measured is not None:
            measured.clock.forget()
    for steps in rounds:
        ours.turn(steps)
        if other is not None:
            other.turn(steps)
    result, usual = mine.result(), theirs.result() if theirs else None
    return {
        "format": FORMAT,
        **asdict(case),
        "device": str(device),
        **result,
        "plain": usual,
        "ratio": round(result["images_per_second"] / usual["images_per_second"], 3) if usual else None,
        "environment": environment(device),
    }


def plain() -> Any:
    """The file of the plain loop."""
    return import_module("smskd.bench.plain_loop")


def plain_data(case: Case, pictures: Dataset) -> Any | None:
    """The pictures as the plain loop reads them; None if it does not have the method."""
    loop = plain()
    if case.method not in loop.METHODS:
        return None
    return loop.PictureData(
        pictures.train.images.permute(0, 2, 3, 1).contiguous().numpy(),
        pictures.train.labels.numpy(),
        loop.training_transform(case.image_size, pictures.mean, pictures.std, pictures.padding, pictures.flip),
        loop.NEGATIVES if case.method == "crd" else 0,
    )


def _setup(case: Case, pictures: Dataset) -> Setup:
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "teacher.safetensors"
        write_teacher(case, pictures, weights)
        return assemble(case.recipe(weights), pictures)


def _contiguous(model: Any) -> Any:
    """A copy in the format that networks have by default."""
    return copy.deepcopy(model).to(memory_format=torch.contiguous_format)


def _more(peak: int | None, before: int | None) -> int | None:
    return None if peak is None or before is None else max(0, peak - before)
