"""Where and how a run is computed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveInt

from smskd.config.base import Config

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16", "fp16"]
Compile = Literal["auto", "on", "off"]
OnNan = Literal["stop", "skip"]
Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio", "aim", "comet"]
Gather = Literal["global", "local"]

_TYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Names of torch's types."""


@dataclass(frozen=True)
class ComputeConfig(Config):
    """How a step is computed.

    Attributes:
        precision: ``fp32``; ``bf16`` or ``fp16``: mixed precision, in which weights and losses stay float32.
        compile: ``on``: the student is compiled, and on a CPU in float32 teacher and reference too (about half a minute
            at the start of each stage); ``off``; ``auto``: as ``on``, on a CPU in float32, and on
            a GPU the student, in stages that are long enough (:mod:`smskd.training.compute_policy`). On a GPU, unless
            it is ``off``, steps are captured as CUDA graphs and replayed.
        tf32: whether a GPU may round the factors of float32 products to TF32 (10 bits of mantissa), which is much
            faster.
    """

    precision: Precision = "fp32"
    compile: Compile = "auto"
    tf32: bool = True

    def autocast(self, device: "torch.device") -> "torch.autocast":
        """The context in which networks run."""
        import torch  # not before it is needed: recipes are read without it

        return torch.autocast(device.type, getattr(torch, _TYPES[self.precision]), enabled=self.precision != "fp32")


@dataclass(frozen=True)
class RuntimeConfig(ComputeConfig):
    """Where and how a run is computed.

    Attributes:
        precision, compile, tf32: see :class:`ComputeConfig`.
        seed: of everything random.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        checkpoint_every: epochs between two checkpoints. Each stage ends with one.
        checkpoint_minutes: the least time between two of them: a checkpoint is written at the end of the first epoch,
            of those that ``checkpoint_every`` names, after which so many minutes of training have passed.
        keep_checkpoints: number of checkpoints that are kept. Where the newest is damaged, a run goes on from the one
            before it.
        on_nan: ``stop``: a run ends at the end of an epoch in which a loss was not finite. ``skip``: a step whose loss
            or gradients hold NaN or Inf is not taken; the run ends after 25 such steps in a row, or an epoch of them.
        store: folder in which the ends of stages are kept. A stage that is there already, with the same data, weights,
            settings and code, is taken from it instead of being trained; null: every stage is trained.
        track: trackers that are told of each epoch: ``tensorboard``, ``wandb``, ``mlflow``, ``trackio``, ``aim``,
            ``comet``. They write into the run's folder, or as their own environment variables say.
        processes: that train the run together, each with its part of every batch: on GPUs one for each, on a CPU as
            many as given. ``smskd train`` starts them, unless ``torchrun`` or ``accelerate launch`` has.
        gather: what loss terms that relate samples see where several processes share a batch. ``global``: the whole
            batch; ``local``: the rows of each process by themselves.
        sync_batch_norm: whether batch norms in training take mean and variance of the whole batch where several
            processes share it; otherwise each process takes those of its rows.
    """

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    device: str = "auto"
    checkpoint_every: PositiveInt = 1
    checkpoint_minutes: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    keep_checkpoints: Annotated[int, Field(ge=1, le=100)] = 1
    on_nan: OnNan = "stop"
    store: Annotated[str, Field(min_length=1)] | None = None
    track: tuple[Tracker, ...] = ()
    processes: Annotated[int, Field(ge=1, le=1024)] = 1
    gather: Gather = "global"
    sync_batch_norm: bool = True
