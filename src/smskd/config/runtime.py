"""How a step is computed."""

from dataclasses import dataclass
from typing import Literal

import torch

Precision = Literal["fp32", "bf16", "fp16"]


Compile = Literal["auto", "on", "off"]


_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class ComputeConfig:
    """How a step is computed.

    Attributes:
        precision: ``fp32``; ``bf16`` or ``fp16``: mixed, the weights stay float32 and losses are computed in float32.
        compile: ``on``: the student is compiled, and on a CPU in float32 teacher and reference (half a minute or so at
            the start of each stage); ``off``; ``auto``: likewise on a CPU in float32, in stages long enough (see
            :mod:`smskd.training.compute_policy`). On a GPU, unless it is ``off``, steps are replayed as CUDA graphs.
    """

    precision: Precision = "fp32"
    compile: Compile = "auto"

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context in which models run."""
        return torch.autocast(device.type, _TYPES[self.precision], enabled=self.precision != "fp32")
