"""The calls of a network's modules in one forward pass on random images."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from smskd.errors import UserError
from smskd.interfaces.inputs import ATTENTION_MASK, Inputs, form_of, rows_of
from smskd.models.as_trained import as_trained
from smskd.models.calling import called
from smskd.models.dry_run import preserve_state
from smskd.models.image_errors import as_user_error
from smskd.models.module_outputs import first_tensor
from smskd.models.probe import probe_inputs

_IMAGES = 2
_SAME = 1e-6


@dataclass(frozen=True)
class Call:
    """One call of a module.

    Attributes:
        name: of the module.
        number: which of the module's calls it is, counted from 1.
        module: that is called.
        input: its first argument.
        output: the first tensor of its output.
        images: number of images in the forward pass.
    """

    name: str
    number: int
    module: nn.Module
    input: Any
    output: Any
    images: int

    @property
    def depth(self) -> int:
        """0 for a child of the network, 1 for a child of a child, ..."""
        return self.name.count(".")

    @property
    def tensor(self) -> Tensor | None:
        """The output, if it is a tensor of numbers with an entry for each image."""
        value = self.output
        fits = isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 1 and len(value) == self.images
        return value if fits else None

    @cached_property
    def varies(self) -> bool:
        """Whether the output differs between the two images, and between places where it has more than one.

        A positional encoding is the same for all images, a gate the same in all places.
        """
        value = self.tensor
        if value is None:
            return False
        scale = _SAME * float(value.abs().max())
        by_image = float((value[0] - value[1]).abs().max())
        places = value.flatten(2) if value.ndim > 3 else value
        by_place = float((places.amax(-1) - places.amin(-1)).max()) if places.shape[-1] > 1 else by_image
        return by_image > scale and by_place > scale


@dataclass(frozen=True)
class Trace:
    """A forward pass.

    Attributes:
        calls: of all modules, in order of completion.
        output: of the network.
        image_size: height and width of the images; (0, 0) where the inputs are none.
        tokens: number of tokens in each sample; 0 where the samples are no sequences of tokens.
    """

    calls: Sequence[Call]
    output: Any
    image_size: tuple[int, int]
    tokens: int = 0

    def inside(self, call: Call) -> list[Call]:
        """The calls of the modules that a module is part of."""
        return [other for other in self.calls if call.name.startswith(f"{other.name}.")]


def trace(module: nn.Module, example: Inputs, run: Callable[..., Any] | None = None) -> Trace:
    """Runs a network on two random images, or two samples of the example, in eval mode; modes, buffers and random
    state are left as they were.

    Args:
        module: the network.
        example: images [N, channels, height, width], for their shape, or samples of several tensors by name. A network
            that does not accept two images is run on N of them, N even.
        run: runs the network on such inputs; by default ``module`` itself.

    Raises:
        UserError: the network does not accept such inputs.
    """
    try:
        return _traced(module, example, run, _IMAGES)
    except UserError:
        if rows_of(example) <= _IMAGES or rows_of(example) % 2:
            raise
        return _traced(module, example, run, rows_of(example))


def _traced(module: nn.Module, example: Inputs, run: Callable[..., Any] | None, images: int) -> Trace:
    calls: list[Call] = []
    names = {part: name for name, part in module.named_modules() if name}
    count: Counter[str] = Counter()
    inputs = probe_inputs(module, example, images)

    def record(part: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        name = names[part]
        count[name] += 1
        calls.append(Call(name, count[name], part, inputs[0] if inputs else None, first_tensor(output), images))

    def forward() -> Any:
        return called(run or eager(module), module, inputs)

    with preserve_state(module), as_trained(module, forward), as_user_error(module, form_of(example)):
        handles = [part.register_forward_hook(record) for part in names]
        try:
            output = forward()
        finally:
            for handle in handles:
                handle.remove()
    if not isinstance(example, Tensor):
        return Trace(calls, output, (0, 0), token_count(example))
    return Trace(calls, output, (int(example.shape[2]), int(example.shape[3])))


def token_count(x: Inputs) -> int:
    """The number of tokens in each sample, padding included; 0 where the samples are no sequences of tokens."""
    mask = None if isinstance(x, Tensor) else x.get(ATTENTION_MASK)
    return 0 if mask is None else int(mask.shape[1])


def eager(module: nn.Module) -> Callable[..., Any]:
    """Calls a network without the program of ``module.compile()``, which does not call hooks that are added later."""
    return module if getattr(module, "_compiled_call_impl", None) is None else module._call_impl


def grid_of(tokens: int, image_size: tuple[int, int]) -> tuple[int, int] | None:
    """Rows and columns of so many patches of an image; None where no square patches give that number."""
    height, width = image_size
    for rows in range(1, tokens + 1):
        columns, rest = divmod(tokens, rows)
        if rest == 0 and rows <= height and columns <= width and fits_image((rows, columns), image_size):
            return rows, columns
    return None


def fits_image(size: tuple[int, int], image_size: tuple[int, int]) -> bool:
    """Whether a map of this size has the image's aspect ratio, up to a row or column at the edge."""
    (rows, columns), (height, width) = size, image_size
    if rows < 1 or columns < 1 or rows > height or columns > width:
        return False
    stride = max(height / rows, width / columns)
    return (
        abs(rows - height / stride) <= 1 and abs(columns - width / stride) <= 1 if height != width else rows == columns
    )


def equal(one: Any, other: Any) -> bool:
    """Whether two outputs are the same values."""
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return False
    return one is other or (one.shape == other.shape and torch.equal(one, other))
