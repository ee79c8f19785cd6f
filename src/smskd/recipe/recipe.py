"""A recipe: everything that determines a run, with choices that may be left open."""

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BeforeValidator, PositiveInt

from smskd.config.base import ComponentConfig, Config
from smskd.config.data import DataConfig
from smskd.config.models import ModelConfig, TeacherConfig
from smskd.config.optimization import OptimizerConfig, ScheduleConfig
from smskd.config.runtime import RuntimeConfig
from smskd.config.stage import BatchSize, Component, OptionalComponent, StageConfig
from smskd.errors import UserError

DEFAULT_ANCHOR = ComponentConfig("reference_kl", {})


@dataclass(frozen=True)
class TrainingConfig(Config):
    """The amount of training.

    Attributes:
        epochs: of the whole run.
        batch_size: of training.
        test_batch_size: of evaluation.
    """

    epochs: PositiveInt = 240
    batch_size: BatchSize = 64
    test_batch_size: PositiveInt = 512


@dataclass(frozen=True)
class Recipe(Config):
    """A whole run. The defaults are the published protocol of distillation on CIFAR-100.

    Attributes:
        data: see :class:`~smskd.config.data.DataConfig`.
        student: see :class:`~smskd.config.models.ModelConfig`; a name alone stands for a fresh network.
        name: of the run, for tables and folders.
        teacher: see :class:`~smskd.config.models.TeacherConfig`; null: there is none, for plain training.
        training, optimizer, schedule: of the whole run.
        strategy: turns ``methods`` into stages: ``sequential``: one stage a method, in this order; ``joint``: all of
            them in one stage; one of your own, ``package.module:Name``.
        methods: shorthand for ``stages``.
        anchor: of every stage that can have one; null: none.
        stages: the stages in full, instead of ``methods``.
        runtime: where and how it is computed.
    """

    data: DataConfig
    student: Annotated[ModelConfig, BeforeValidator(ModelConfig.of)]
    name: str = "run"
    teacher: Annotated[TeacherConfig | None, BeforeValidator(ModelConfig.of)] = None
    training: TrainingConfig = field(default_factory=TrainingConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    strategy: Component = "sequential"
    methods: tuple[Component, ...] | None = None
    anchor: OptionalComponent = DEFAULT_ANCHOR
    stages: tuple[StageConfig, ...] | None = None
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.methods is not None and self.stages is not None:
            raise UserError("give either methods or stages, not both")
