"""A recipe: all settings of a run, as the user gives them."""

from dataclasses import dataclass, field
from typing import Annotated
from unicodedata import category

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from smskd.config.base import ComponentConfig, Config, SettingError
from smskd.config.data import DataConfig
from smskd.config.models import ModelConfig, TeacherConfig
from smskd.config.numbers import Count, Epochs
from smskd.config.optimization import OptimizerConfig, ScheduleConfig
from smskd.config.runtime import RuntimeConfig
from smskd.config.stage import BatchSize, Component, OptionalComponent, StageConfig

LONGEST_NAME = 200


_CONTROL = {"Cc", "Cs", "Cn", "Zl", "Zp"}
"""Unicode categories of control characters, surrogates, what is no character, and line breaks."""


def _run_name(name: str) -> str:
    wrong = any(character == "/" or category(character) in _CONTROL for character in name)
    if not 0 < len(name) <= LONGEST_NAME or name in (".", "..") or wrong:
        raise PydanticCustomError(
            "name", f"the name of a folder: 1 to {LONGEST_NAME} characters, without a slash or a control character"
        )
    return name


RunName = Annotated[str, AfterValidator(_run_name)]

DEFAULT_ANCHOR = ComponentConfig("reference_kl", {})


@dataclass(frozen=True)
class TrainingConfig(Config):
    """The amount of training.

    Attributes:
        epochs: of the whole run.
        batch_size: of training, at least 2.
        test_batch_size: of evaluation; it does not affect the result.
        accumulate: number of pieces into which a batch is split; their gradients are added up before the weights are
            updated. Batch norms, and loss terms that relate samples, see a piece. It divides the batch size.
    """

    epochs: Epochs = 240
    batch_size: BatchSize = 64
    test_batch_size: Count = 512
    accumulate: Count = 1


@dataclass(frozen=True)
class Recipe(Config):
    """A whole run. The defaults are the published protocol of distillation on CIFAR-100.

    Attributes:
        data: see :class:`~smskd.config.data.DataConfig`.
        student: see :class:`~smskd.config.models.ModelConfig`; a name alone is a network with random weights.
        name: of the run, for tables and folders; in a file by default the name of the file.
        teacher: see :class:`~smskd.config.models.TeacherConfig`; null: no teacher, for plain training.
        training, optimizer, schedule: of the whole run.
        strategy: turns ``methods`` into stages. ``sequential``: one stage per method, in this order; ``joint``: one
            stage with all methods; or your own, ``package.module:Name``.
        methods: shorthand for ``stages``; none: plain training.
        anchor: of every stage that can have one; null: none.
        stages: the stages in full, instead of ``methods``.
        runtime: device, precision, seed and checkpoints.
    """

    data: DataConfig
    student: Annotated[ModelConfig, BeforeValidator(ModelConfig.of)]
    name: RunName = "run"
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
            raise SettingError("give either methods or stages, not both")
