"""Running a model once to learn about it, without leaving a trace on it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from smskd.errors import UserError


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; afterwards every mode and every buffer is as it was."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for module, name, buffer, before in buffers:
                buffer.copy_(before)
                module._buffers[name] = buffer


@contextmanager
def refusing(image_shape: tuple[int, ...]) -> Iterator[None]:
    """Turn what torch raises on pictures that the model cannot take into a :class:`UserError`."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        size = "x".join(str(length) for length in image_shape)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        message = f"the model takes no pictures of {size} (channels x height x width): {reason}"
        raise UserError(message) from error


def blank_pictures(model: nn.Module, image_shape: tuple[int, int, int], count: int) -> Tensor:
    """Zeros [count, channels, height, width] where the model's weights are, and of their type."""
    return like_weights(model, torch.zeros(count, *image_shape))


def like_weights(model: nn.Module, x: Tensor) -> Tensor:
    """The pictures on the device of the model's floating-point weights, and of their type."""
    for weight in model.parameters():
        if weight.is_floating_point():
            return x.to(device=weight.device, dtype=weight.dtype)
    return x
