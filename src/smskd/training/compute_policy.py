"""Which networks compile: with ``compile: auto``, where that is measured to be worth its time."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from smskd.config.runtime import ComputeConfig
from smskd.models import macs
from smskd.models.compiled import CompiledStudent
from smskd.models.frozen import Frozen
from smskd.objective.weighted_sum import Objective
from smskd.training.config import RunConfig

WORTHWHILE = 10**14
"""Multiply-accumulates of a frozen network in a stage from which on it is compiled.

Two cores of 2023 take a quarter of an hour for as many. A compiled resnet56 takes 7 % less, and 15 seconds to compile.
"""


TRAINING_WORTHWHILE = 3 * 10**14
"""Likewise of the student, of which a step is three forward passes.

An hour of training, of which half a minute of compiling is 1 %. What it gains depends on the processor: a step of
resnet20 took 11 % less on one, and as long on another.
"""


def choose_compiled(objective: Objective, compute: ComputeConfig, pictures: int) -> None:
    """Lets the networks compile: the student, and on a CPU and in float32 teacher and reference. A network whose
    outputs are cached, so that it sees fewer pictures at a time, never does.

    The choice follows from the stage alone, so that a run which is resumed makes it again.

    Args:
        objective: whose stage has begun.
        numerics: of the run.
        pictures: how many a network sees in the stage.
    """
    _, channels, height, width = (int(size) for size in objective.example.shape)
    shape = (channels, height, width)
    possible = compute.compile != "off" and compute.precision == "fp32" and objective.example.device.type == "cpu"

    def pays(network: Frozen) -> bool:
        return compute.compile == "on" or pictures * macs(network.model, shape) >= WORTHWHILE

    if compute.compile == "on" or (possible and 3 * pictures * macs(objective.student, shape) >= TRAINING_WORTHWHILE):
        objective.compiled = CompiledStudent(objective.student)
    if objective.teacher is not None:
        objective.teacher.compiles = possible and not objective.cached and pays(objective.teacher)
    if objective.reference is not None:
        objective.reference.compiles = possible and pays(objective.reference)


SMALL_STEP = 2_000_000_000
"""Multiply-accumulates of a step below which several threads mostly wait for each other."""


@contextmanager
def fitting_threads(setup: RunConfig) -> Iterator[None]:
    """One thread for a small run, as many as torch has otherwise; afterwards as many as before.

    The number follows from the run alone, so that a run which is resumed on the same machine has the same one: sums
    over several threads round differently.
    """
    before = torch.get_num_threads()
    if setup.example.device.type == "cpu" and _step(setup) < SMALL_STEP:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _step(setup: RunConfig) -> int:
    """Multiply-accumulates of a training step; a backward pass counts as two forward passes."""
    _, channels, height, width = (int(size) for size in setup.example.shape)
    shape = (channels, height, width)
    teacher = macs(setup.teacher.wrapped, shape) if setup.teacher is not None else 0
    return setup.data.batch_size * (3 * macs(setup.student.wrapped, shape) + teacher)
