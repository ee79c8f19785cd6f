"""Which networks compile: with ``compile: auto``, where that is measured to be worth its time."""

from smskd.anchors.frozen import Frozen
from smskd.engine.compiled import CompiledStudent
from smskd.engine.objective import Objective
from smskd.engine.step import Numerics
from smskd.models import macs

WORTHWHILE = 10**14
"""Multiply-accumulates of a frozen network in a stage from which on it is compiled.

Two cores of 2023 take a quarter of an hour for as many. A compiled resnet56 takes 7 % less, and 15 seconds to compile.
"""

TRAINING_WORTHWHILE = 3 * 10**14
"""Likewise of the student, of which a step is three forward passes.

An hour of training, of which half a minute of compiling is 1 %. What it gains depends on the processor: a step of
resnet20 took 11 % less on one, and as long on another.
"""


def choose_compiled(objective: Objective, numerics: Numerics, pictures: int) -> None:
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
    possible = numerics.compile != "off" and numerics.precision == "fp32" and objective.example.device.type == "cpu"

    def pays(network: Frozen) -> bool:
        return numerics.compile == "on" or pictures * macs(network.model, shape) >= WORTHWHILE

    if numerics.compile == "on" or (possible and 3 * pictures * macs(objective.student, shape) >= TRAINING_WORTHWHILE):
        objective.compiled = CompiledStudent(objective.student)
    if objective.teacher is not None:
        objective.teacher.compiles = possible and not objective.cached and pays(objective.teacher)
    if objective.reference is not None:
        objective.reference.compiles = possible and pays(objective.reference)
