"""Where a feature of a hooked network is read, and how it is brought to the shape of a map, tokens or a vector."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from smskd.errors import UserError

Arrangement = Literal["given", "channels_last", "map_of_tokens", "patch_tokens", "prefix_tokens"]


@dataclass(frozen=True)
class Source:
    """Where a feature is read.

    Attributes:
        module: the name of the module.
        what: its output, its first input flattened to [N, width], or the mean over the image of either, a map.
        call: which of the module's calls in a forward pass, counted from 1.
        arrangement: of the output: as it is given; [N, H, W, C], turned to [N, C, H, W]; or [N, tokens, C], of which
            the patch tokens are read as a map [N, C, H, W] or as they are, or the tokens in front of them.
        prefix: number of tokens in front of those of the patches: class, distillation and register tokens.
        grid: rows and columns of the patches.
    """

    module: str
    what: Literal["output", "input", "mean", "input_mean"] = "output"
    call: int = 1
    arrangement: Arrangement = "given"
    prefix: int = 0
    grid: tuple[int, int] = (0, 0)

    @property
    def place(self) -> str:
        """The module and its call: ``relu``, ``relu:2``."""
        return self.module if self.call == 1 else f"{self.module}:{self.call}"

    def read(self, inputs: tuple[Any, ...], output: Any) -> Tensor:
        """The feature, from the module's positional arguments and its output."""
        if self.what in ("input", "input_mean"):
            first: Tensor = inputs[0]
            return first.flatten(start_dim=1) if self.what == "input" else first.mean(dim=(2, 3))
        value = self._arranged(first_tensor(output))
        return value.mean(dim=(2, 3)) if self.what == "mean" else value

    def _arranged(self, value: Tensor) -> Tensor:
        if self.arrangement == "given":
            return value
        if self.arrangement == "channels_last":
            return value.permute(0, 3, 1, 2)
        if self.arrangement == "prefix_tokens":
            return value[:, : self.prefix]
        patches = value[:, self.prefix :]
        if self.arrangement == "patch_tokens":
            return patches
        rows, columns = self.grid
        if patches.shape[1] != rows * columns:
            raise UserError(
                f"the output of {self.place!r} has {patches.shape[1]} tokens of patches, and {rows}x{columns} for "
                "images of the size that the network was adapted to; adapt it to images of this size"
            )
        return patches.transpose(1, 2).reshape(len(value), -1, rows, columns)


def first_tensor(output: Any) -> Any:
    """A module's output itself, or the first entry of a tuple, list or mapping that is a tensor.

    Whatever has none is returned as it is.
    """
    entries = list(output.values()) if isinstance(output, Mapping) else output
    if isinstance(entries, tuple | list):
        return next((entry for entry in entries if isinstance(entry, Tensor)), output)
    return output


def logits_of(output: object) -> Tensor:
    """The logits [N, classes] in a network's output.

    They are the output itself, its attribute or entry ``logits`` (transformers; Inception and GoogLeNet of torchvision
    in train mode, whose auxiliary logits are left out), or the only entry of a tuple or list.

    Raises:
        UserError: none of these is a tensor.
    """
    found = output
    if isinstance(output, Mapping) and "logits" in output:
        found = output["logits"]
    elif hasattr(output, "logits"):
        found = output.logits
    elif isinstance(output, tuple | list) and len(output) == 1:
        found = output[0]
    if not isinstance(found, Tensor):
        kind = type(output).__name__
        raise UserError(
            f"the model's output is a {kind}; that of a classifier is a tensor of logits [N, classes], or has it as "
            "'logits': wrap the network in a module that returns the logits alone"
        )
    return found
