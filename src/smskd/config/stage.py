"""A stage of a run as a recipe or a program describes it, with choices that may be left open."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from smskd.config.base import ComponentConfig, Config
from smskd.config.models import ModelConfig, TeacherConfig
from smskd.config.numbers import LARGEST_COUNT, Epochs, NonNegativeFloat, Real, Whole
from smskd.config.optimization import Epoch, OptimizerConfig, ScheduleConfig

Which = Literal["last", "best", "ema"]

INHERIT = "inherit"
"""As a stage's anchor: that of the recipe."""


def _component(value: Any) -> Any:
    """A component by name or mapping; Python objects stay as they are and are checked where they are used."""
    component = ComponentConfig.of(value)
    if component is None or isinstance(component, bool | int | float | list | dict):
        raise PydanticCustomError("component", "a name, or a mapping with a name")
    return component


def _component_or_none(value: Any) -> Any:
    return None if value is None else _component(value)


Component = Annotated[Any, BeforeValidator(_component)]
"""A method or strategy: a :class:`ComponentConfig`, or a Python object."""

OptionalComponent = Annotated[Any, BeforeValidator(_component_or_none)]
"""An anchor or None."""

BatchSize = Annotated[Whole, Field(ge=2, le=LARGEST_COUNT)]


@dataclass(frozen=True)
class StageConfig(Config):
    """One stage.

    Attributes:
        methods: distilled together in it; none: plain training. By name (``kd``), with options (``{name: kd,
            temperature: 2, weight: 0.5}``), or in Python as :class:`smskd.Method` or :class:`smskd.WeightedMethod`.
        ends_after: the stage's last epoch, counted over the whole run, or a share of the run's epochs (``5/8``). By
            default the last stage ends with the run and any other with the next learning-rate decay.
        epochs: length of the stage, instead of ``ends_after``. It may go beyond the epochs of the run.
        ce_weight: of the cross-entropy; by default the published one of a single method, 1 otherwise.
        anchor: holds the student near the reference; ``inherit``: that of the recipe; null: nothing does. In a first
            stage only anchors that can refer to the initial weights act.
        schedule: a learning-rate schedule of the stage's own, its epochs counted from the stage's start.
        optimizer: of this stage; by default the recipe's.
        batch_size: of this stage; by default the recipe's.
        teacher: of this stage; by default the recipe's.
        optimizer_state: ``keep`` the optimizer's state from the previous stage, or ``reset`` it.
        carry: the student that goes on into the next stage: that of the ``last`` epoch, of the ``best`` epoch by
            accuracy on the validation split, or the exponential moving average of its weights over the stage
            (``ema``).
        reference: the student that is frozen as the next stage's reference, likewise.
        ema_decay: of the moving average, per step.
    """

    methods: tuple[Component, ...] = ()
    ends_after: Epoch | None = None
    epochs: Epochs | None = None
    ce_weight: NonNegativeFloat | None = None
    anchor: OptionalComponent = INHERIT
    schedule: ScheduleConfig | None = None
    optimizer: OptimizerConfig | None = None
    batch_size: BatchSize | None = None
    teacher: Annotated[TeacherConfig | None, BeforeValidator(ModelConfig.of)] = None
    optimizer_state: Literal["keep", "reset"] = "keep"
    carry: Which = "last"
    reference: Which = "last"
    ema_decay: Annotated[Real, Field(gt=0, lt=1)] = 0.999

    @property
    def inherits_anchor(self) -> bool:
        """Whether its anchor is the recipe's."""
        return bool(self.anchor == ComponentConfig(INHERIT, {}))

    def keeps(self, which: Which) -> bool:
        """Whether the best student, or the average, is needed at its end."""
        return which in (self.carry, self.reference)
