"""A run with every choice made: what is built from, written to the run's folder, and compared when it is resumed."""

from dataclasses import dataclass
from typing import Any

from smskd.config.base import plain
from smskd.config.data import DataConfig
from smskd.config.models import ModelConfig, TeacherConfig
from smskd.config.optimization import OptimizerConfig, ScheduleConfig
from smskd.config.runtime import RuntimeConfig
from smskd.config.stage import Which
from smskd.interfaces.terms import Anchor, WeightedMethod
from smskd.recipe.recipe import TrainingConfig
from smskd.registry import ANCHORS, METHODS, STRATEGIES
from smskd.strategies.base import Strategy


@dataclass(frozen=True)
class ResolvedStage:
    """One stage with every choice made.

    Attributes:
        methods: distilled together in it.
        first, last: its epochs, counted from 1 over the whole run, both included.
        ce_weight: of the cross-entropy.
        anchor: holds the student near the reference; None: nothing does.
        schedule: learning rates of its own, counted from the stage's start; None: the run's schedule goes on.
        optimizer, batch_size: of this stage.
        teacher: of this stage; None: there is none.
        optimizer_state, carry, reference, ema_decay: see :class:`smskd.config.stage.StageConfig`.
    """

    methods: tuple[WeightedMethod, ...]
    first: int
    last: int
    ce_weight: float
    anchor: Anchor | None
    schedule: ScheduleConfig | None
    optimizer: OptimizerConfig
    batch_size: int
    teacher: TeacherConfig | None
    optimizer_state: str
    carry: Which
    reference: Which
    ema_decay: float

    @property
    def epochs(self) -> int:
        """How many epochs it lasts."""
        return self.last - self.first + 1

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its methods."""
        return tuple(item.name for item in self.methods)

    @property
    def replaces_head(self) -> bool:
        """Whether a method replaces the student's last layers."""
        return any(item.method.replaces_head for item in self.methods)

    def keeps(self, which: Which) -> bool:
        """Whether the best student, or the average, is needed at its end."""
        return which in (self.carry, self.reference)

    def as_mapping(self, recipe: "ResolvedRecipe") -> dict[str, Any]:
        """As a recipe has it; settings that are the recipe's own are null."""
        return {
            "methods": [_method_mapping(item) for item in self.methods],
            "ends_after": self.last,
            "ce_weight": self.ce_weight,
            "anchor": None if self.anchor is None else ANCHORS.component_of(self.anchor).as_mapping(),
            "schedule": plain(self.schedule),
            "optimizer": None if self.optimizer == recipe.optimizer else plain(self.optimizer),
            "batch_size": None if self.batch_size == recipe.training.batch_size else self.batch_size,
            "teacher": None if self.teacher == recipe.teacher else plain(self.teacher),
            "optimizer_state": self.optimizer_state,
            "carry": self.carry,
            "reference": self.reference,
            "ema_decay": self.ema_decay,
        }


@dataclass(frozen=True)
class ResolvedRecipe:
    """A run with every choice made.

    Attributes:
        name: of the run.
        data, student, teacher, training, optimizer, schedule, runtime: see :class:`smskd.recipe.Recipe`. Shares of the
            run's epochs are resolved to epochs.
        strategy: whose objectives the stages have.
        stages: one after another.
    """

    name: str
    data: DataConfig
    student: ModelConfig
    teacher: TeacherConfig | None
    training: TrainingConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    strategy: Strategy
    stages: tuple[ResolvedStage, ...]
    runtime: RuntimeConfig

    @property
    def epochs(self) -> int:
        """The last epoch of the last stage."""
        return self.stages[-1].last

    def as_mapping(self) -> dict[str, Any]:
        """The recipe that resolves to this one, as YAML has it."""
        return {
            "name": self.name,
            "data": plain(self.data),
            "student": plain(self.student),
            "teacher": plain(self.teacher),
            "training": plain(self.training),
            "optimizer": plain(self.optimizer),
            "schedule": plain(self.schedule),
            "strategy": STRATEGIES.component_of(self.strategy).as_mapping(),
            "stages": [stage.as_mapping(self) for stage in self.stages],
            "runtime": plain(self.runtime),
        }


def _method_mapping(item: WeightedMethod) -> dict[str, Any]:
    component = METHODS.component_of(item.method)
    return {"name": component.name, "weight": item.weight, **plain(component.options)}
