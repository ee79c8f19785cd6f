"""The records a recipe is made of. Their fields are its keys, their defaults the recipe's defaults."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from pydantic_core import PydanticCustomError

from smskd.config.sizes import EXPECTED, in_bytes
from smskd.errors import UserError

Which = Literal["last", "best", "average"]

DEFAULT_ANCHOR = "reference_kl"


class Spec(BaseModel):
    """A frozen record that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="strings")


class ComponentSpec(BaseModel):
    """Something named with hyper-parameters of its own, such as an anchor: ``{name: reference_kl, weight: 0.4}``."""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """What the recipe gives beside the name."""
        return dict(self.model_extra or {})


class MethodSpec(ComponentSpec):
    """A distillation method of a stage: ``{name: kd, weight: 0.9, temperature: 4}``, or only its name.

    Attributes:
        name: a method of this package or an installed one, or ``package.module:Class``.
        weight: of its loss in the stage's objective; by default the method's published one.
    """

    weight: NonNegativeFloat | None = None


class DataSpec(Spec):
    """The pictures.

    Attributes:
        name: ``digits``, ``cifar10``, ``cifar100`` or ``parquet``.
        root: folder of the files; not used by ``digits``.
        download: fetch the files into ``root`` if they are not there (``cifar10``, ``cifar100``).
        train_limit, test_limit: use only so many pictures, a random part fixed by ``limit_seed``.
        image_column, label_column, image_size: of Parquet files; found from the file if not given.
        channels: 3 for colour, 1 for gray; of Parquet files.
        padding: pixels of zero padding for the random crop, 0 for none; by default what is customary for the data
            (CIFAR 4, digits 1).
        flip: random horizontal flips; by default what is customary (CIFAR yes, digits no).
    """

    name: str
    root: str | None = None
    download: bool = False
    train_limit: PositiveInt | None = None
    test_limit: PositiveInt | None = None
    limit_seed: int = 0
    image_column: str | None = None
    label_column: str | None = None
    image_size: tuple[PositiveInt, PositiveInt] | None = None
    channels: Literal[1, 3] | None = None
    padding: NonNegativeInt | None = None
    flip: bool | None = None


class ModelSpec(Spec):
    """A network.

    Attributes:
        model: a name of the zoo, or ``package.module:factory`` for one of your own.
        weights: ``.safetensors``, ``.pth`` or a run's folder; none: freshly initialised.
        options: further arguments of the model's factory.
        features: feature names and the modules whose outputs they are, for a model of your own; found
            automatically if not given.
    """

    model: str
    weights: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    features: dict[str, str] | None = None


def _as_text(size: Any) -> Any:
    return str(size) if isinstance(size, int) and not isinstance(size, bool) else size


def _checked_size(size: str) -> str:
    try:
        in_bytes(size)
    except UserError:
        raise PydanticCustomError("size", EXPECTED) from None
    return size


Size = Annotated[str, BeforeValidator(_as_text), AfterValidator(_checked_size)]


class TeacherSpec(ModelSpec):
    """The network to learn from, and how its outputs are kept.

    Attributes:
        cache: logits and pooled features of each variant of each picture that augmentation can make are computed once
            and kept, as float16: ``memory``: for this run; ``disk``: for all runs; ``off``: they are not.
        cache_folder: of the cache on disk; by default that of the environment variable ``SMSKD_CACHE``, or ``smskd``
            in the user's folder for caches.
        cache_limit: a cache that may become larger than this is refused.
    """

    cache: Literal["off", "memory", "disk"] = "off"
    cache_folder: str | None = None
    cache_limit: Size = "16GB"


class OptimizerSpec(Spec):
    """The optimizer.

    Attributes:
        name: ``sgd`` or ``adamw``.
        learning_rate: at the start.
        momentum, nesterov: of ``sgd``.
        weight_decay: L2 penalty of ``sgd``, decoupled decay of ``adamw``.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: PositiveFloat = 0.05
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: NonNegativeFloat = 5e-4


class ScheduleSpec(Spec):
    """The learning rate over the epochs.

    Attributes:
        name: ``step`` multiplies by ``decay_rate`` after each of ``decay_epochs``; ``cosine`` falls to zero at the
            end; ``constant`` stays.
        decay_epochs: the rate changes after these epochs, counted from 1.
        decay_rate: factor of a step.
        warmup_epochs: epochs of linear rise at the start.
        learning_rate: replaces the optimizer's, in a stage with a schedule of its own.
    """

    name: Literal["step", "cosine", "constant"] = "step"
    decay_epochs: tuple[PositiveInt, ...] = (150, 180, 210)
    decay_rate: Annotated[float, Field(gt=0, le=1)] = 0.1
    warmup_epochs: NonNegativeInt = 0
    learning_rate: PositiveFloat | None = None


class StageSpec(Spec):
    """One stage.

    Attributes:
        methods: what is distilled in it, together; none: plain training.
        ce_weight: of the cross-entropy; by default the published one of a single method, 1 otherwise.
        until: the stage's last epoch, on the clock of the whole run. By default the last stage runs to the end
            and any other up to the next learning-rate decay.
        epochs: the stage's length, instead of ``until``. It may go beyond the recipe's ``epochs``.
        anchor: holds the student near the reference; by default the recipe's, none in the first stage.
        schedule: a learning-rate schedule of the stage's own, its epochs counted from the stage's start.
        optimizer: ``keep`` the optimizer's state from the stage before, or ``reset`` it.
        carry: which student goes on into the next stage: the last epoch's, the best epoch's (by accuracy on the
            test pictures) or the average (exponential moving, over the stage).
        reference: which student is frozen as the next stage's reference.
        ema_decay: of the moving average, a step.
    """

    methods: tuple[MethodSpec, ...] = ()
    ce_weight: NonNegativeFloat | None = None
    until: PositiveInt | None = None
    epochs: PositiveInt | None = None
    anchor: ComponentSpec | None = None
    schedule: ScheduleSpec | None = None
    optimizer: Literal["keep", "reset"] = "keep"
    carry: Which = "last"
    reference: Which = "last"
    ema_decay: Annotated[float, Field(gt=0, lt=1)] = 0.999


class Recipe(Spec):
    """A whole run.

    Attributes:
        name: of the run, for tables and folders.
        data, teacher, student: see there. No teacher: plain training.
        epochs, batch_size, optimizer, schedule: of the whole run; the default is the published protocol of
            CIFAR-100 distillation.
        methods: shorthand for ``stages``: the methods, which ``strategy`` makes into stages.
        strategy: ``sequential``: a stage a method, in this order; ``joint``: all in one stage.
        anchor: of every stage but the first.
        stages: the stages in full, instead of ``methods``.
        seed: of everything random.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        precision: of the networks' arithmetic: ``fp32``, or mixed with ``bf16`` or ``fp16``; losses and weights
            stay float32.
        compile: ``on``: the networks are compiled, which takes half a minute or so a stage; ``off``; ``auto``: on a
            CPU in float32, in stages so long that it pays. On a GPU, unless it is ``off``, steps are replayed as CUDA
            graphs.
        tf32: let a GPU round the factors of float32 products to 19 bits, which is much faster.
        checkpoint_every: epochs between two checkpoints.
    """

    name: str = "run"
    data: DataSpec
    teacher: TeacherSpec | None = None
    student: ModelSpec
    epochs: PositiveInt = 240
    batch_size: Annotated[int, Field(ge=2)] = 64
    test_batch_size: PositiveInt = 512
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    methods: tuple[MethodSpec, ...] | None = None
    strategy: Literal["sequential", "joint"] = "sequential"
    anchor: ComponentSpec | None = ComponentSpec(name=DEFAULT_ANCHOR)
    stages: tuple[StageSpec, ...] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    device: str = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    compile: Literal["auto", "on", "off"] = "auto"
    tf32: bool = True
    checkpoint_every: PositiveInt = 1
