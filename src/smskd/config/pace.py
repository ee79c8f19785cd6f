"""How fast a run learns."""

from dataclasses import dataclass

from smskd.recipe import OptimizerSpec, ScheduleSpec


@dataclass(frozen=True)
class Pace:
    """The optimizer, the schedule, the epochs of the whole run, and the seed of everything random."""

    optimizer: OptimizerSpec
    schedule: ScheduleSpec
    epochs: int
    seed: int
