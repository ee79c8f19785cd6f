"""What ``compile: auto`` comes to: where compiling is measured to be worth its time."""

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
    """Lets teacher and reference compile where that pays, and only there. A network whose outputs are cached, so that
    it sees fewer pictures at a time, never does.

    The choice follows from the stage alone, so that a run which is resumed makes it again.

    Args:
        objective: whose stage has begun.
        numerics: of the run.
        pictures: how many a network sees in the stage.
    """
    _, channels, height, width = (int(size) for size in objective.example.shape)
    shape = (channels, height, width)
    possible = numerics.compile == "auto" and numerics.precision == "fp32" and objective.example.device.type == "cpu"

    def pays(network: Frozen) -> bool:
        return possible and pictures * macs(network.model, shape) >= WORTHWHILE

    if objective.teacher is not None:
        objective.teacher.compiles = not objective.cached and pays(objective.teacher)
    if objective.reference is not None:
        objective.reference.compiles = pays(objective.reference)
