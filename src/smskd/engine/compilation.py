"""Which of the frozen networks compile: with ``compile: auto``, where that is measured to be worth its time."""

from smskd.anchors.frozen import Frozen
from smskd.engine.objective import Objective
from smskd.engine.step import Numerics
from smskd.models import macs

WORTHWHILE = 10**14
"""Multiply-accumulates of a network in a stage from which on it is compiled.

Two cores of 2023 take a quarter of an hour for as many. A compiled resnet56 takes 7 % less, and 15 seconds to compile;
student and losses gain nothing by it there.
"""


def compile_frozen(objective: Objective, numerics: Numerics, pictures: int) -> None:
    """Lets teacher and reference compile, on a CPU and in float32. A network whose outputs are cached, so that it sees
    fewer pictures at a time, never does.

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

    if objective.teacher is not None:
        objective.teacher.compiles = possible and not objective.cached and pays(objective.teacher)
    if objective.reference is not None:
        objective.reference.compiles = possible and pays(objective.reference)
