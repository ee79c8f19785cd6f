"""Where and how a run is computed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveInt

from smskd.config.base import Config

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16", "fp16"]
Compile = Literal["auto", "on", "off"]

_TYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Names of torch's types."""


@dataclass(frozen=True)
class ComputeConfig(Config):
    """How a step is computed.

    Attributes:
        precision: ``fp32``; ``bf16`` or ``fp16``: mixed precision, in which weights and losses stay float32.
        compile: ``on``: the student is compiled, and on a CPU in float32 teacher and reference too (about half a minute
            at the start of each stage); ``off``; ``auto``: as ``on`` on a CPU in float32, in stages that are long
            enough (:mod:`smskd.training.compute_policy`). On a GPU, unless it is ``off``, steps are captured as CUDA
            graphs and replayed.
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
        checkpoint_every: epochs between two checkpoints.
    """

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    device: str = "auto"
    checkpoint_every: PositiveInt = 1
