"""What a network is given: one tensor, or several by name; and the few operations that hold for both."""

from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

import torch
from torch import Tensor

Inputs = Tensor | Mapping[str, Tensor]
"""One tensor, such as images [N, channels, height, width], or tensors by name with N rows each, such as ``input_ids``
and ``attention_mask`` [N, L]."""

InputForm = tuple[int, int, int] | Mapping[str, Tensor]
"""The form of one sample: (channels, height, width) of an image, or an example of several tensors by name."""

X = TypeVar("X", Tensor, Inputs)

ATTENTION_MASK = "attention_mask"
"""The tensor that is 1 where there is a token, and 0 where there is padding."""


def form_of(example: Inputs) -> InputForm:
    """The form of the samples of an example."""
    if not isinstance(example, Tensor):
        return example
    _, channels, height, width = example.shape
    return int(channels), int(height), int(width)


def mapped_inputs(x: X, change: Callable[[Tensor], Tensor]) -> X:
    """The inputs with each of their tensors changed."""
    return change(x) if isinstance(x, Tensor) else {name: change(tensor) for name, tensor in x.items()}


def take(x: X, rows: slice | Tensor) -> X:
    """Some rows: a slice, or their numbers, int64 [n], on the device of the inputs."""
    if isinstance(rows, slice):
        return mapped_inputs(x, lambda tensor: tensor[rows])
    return mapped_inputs(x, lambda tensor: tensor.index_select(0, rows))


def repeated(x: X, count: int) -> X:
    """``count`` rows: those that there are, again and again."""
    order = torch.arange(count, device=device_of(x)) % rows_of(x)
    return take(x, order)


def blank_tokens(names: Collection[str], length: int, count: int = 2) -> dict[str, Tensor]:
    """Sequences of small token ids without padding, int64 [count, length] by name."""
    blank = torch.arange(count)[:, None].expand(count, length).contiguous()
    return {name: torch.ones_like(blank) if name == ATTENTION_MASK else _first_of(name, blank) for name in names}


def _first_of(name: str, ids: Tensor) -> Tensor:
    return ids if name == "input_ids" else torch.zeros_like(ids)


def rows_of(x: Inputs) -> int:
    """The number of rows."""
    return len(tensors_of(x)[0])


def tensors_of(x: Inputs) -> list[Tensor]:
    """All tensors."""
    return [x] if isinstance(x, Tensor) else list(x.values())


def device_of(x: Inputs) -> torch.device:
    """The device of the tensors."""
    return tensors_of(x)[0].device


def dtype_of(x: Inputs) -> torch.dtype:
    """The type of the first tensor of floating-point numbers; float32 where there is none."""
    return next((tensor.dtype for tensor in tensors_of(x) if tensor.is_floating_point()), torch.float32)


def described(x: Inputs) -> str:
    """The shapes of the tensors by name, for messages: ``input_ids 4x16, attention_mask 4x16``."""
    named = {"images": x} if isinstance(x, Tensor) else x
    return ", ".join(f"{name} {'x'.join(map(str, tensor.shape))}" for name, tensor in named.items())
