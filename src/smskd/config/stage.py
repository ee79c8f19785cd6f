"""A stage as the engine runs it."""

from dataclasses import dataclass
from typing import Literal

from smskd.interfaces.terms import Anchor, WeightedMethod
from smskd.recipe import ScheduleSpec

Which = Literal["last", "best", "average"]


@dataclass(frozen=True)
class Stage:
    """One stage, everything decided.

    Attributes:
        methods: what is distilled in it, together.
        first, last: its epochs, counted from 1 over the whole run, both included.
        ce_weight: of the cross-entropy.
        anchor: holds the student near the reference; None in the first stage.
        schedule: learning rates of its own, counted from the stage's start; None: the run's schedule goes on.
        optimizer, carry, reference, ema_decay: see :class:`smskd.recipe.StageSpec`.
    """

    methods: tuple[WeightedMethod, ...]
    first: int
    last: int
    ce_weight: float
    anchor: Anchor | None = None
    schedule: ScheduleSpec | None = None
    optimizer: Literal["keep", "reset"] = "keep"
    carry: Which = "last"
    reference: Which = "last"
    ema_decay: float = 0.999

    @property
    def epochs(self) -> int:
        """How many epochs it lasts."""
        return self.last - self.first + 1

    @property
    def names(self) -> tuple[str, ...]:
        """Its methods' names."""
        return tuple(item.name for item in self.methods)

    @property
    def needs_teacher(self) -> bool:
        """Whether a method or the anchor reads the teacher."""
        return bool(self.methods) or (self.anchor is not None and self.anchor.needs_teacher)

    @property
    def replaces_head(self) -> bool:
        """Whether a method makes another network of the student."""
        return any(item.method.replaces_head for item in self.methods)

    def keeps(self, which: Which) -> bool:
        """Whether the best, or the average, student is wanted at its end."""
        return which in (self.carry, self.reference)
