"""What a run remembers beside tensors."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Ledger:
    """What a run remembers beside tensors; saved with every checkpoint.

    Attributes:
        epoch: the last that is done. stage: counted from 0.
        seconds: spent so far. best_top1: over the whole run. stage_best: the stage's best accuracy, if any yet.
        top1, top5: of the last epoch.
        prepared: epochs done of the phases before the stage. preparations: of all such phases so far.
        scaler: of float16 gradients.
        cost: of the stage's steps, once they have been timed.
        stages: the summaries of the stages that are over.
    """

    epoch: int = 0
    stage: int = 0
    seconds: float = 0.0
    best_top1: float = 0.0
    stage_best: float | None = None
    top1: float = 0.0
    top5: float | None = None
    average_steps: int = 0
    prepared: int = 0
    preparations: int = 0
    scaler: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] | None = None
    stages: list[dict[str, Any]] = field(default_factory=list)

    def enter(self, stage: int) -> None:
        """A stage begins."""
        self.stage, self.stage_best, self.prepared, self.average_steps, self.cost = stage, None, 0, 0, None
