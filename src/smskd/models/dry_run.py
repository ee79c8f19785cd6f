"""Running a model once to learn about it, and leaving it as it was."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from smskd.errors import UserError


@contextmanager
def preserve_state(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients within; afterwards modes, buffers and random state are as they were.

    The random state is that of PyTorch (on the CPU and on the GPUs of the model), of ``random`` and of
    ``numpy.random``.

    Args:
        model: the network that is run within.
    """
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    try:
        with in_eval_mode(model), preserved_random_state(model), torch.no_grad():
            yield
    finally:
        with torch.no_grad():
            for module, name, buffer, before in buffers:
                buffer.copy_(before)
                module._buffers[name] = buffer


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode within; afterwards every module is in the mode that it was in before.

    Args:
        model: the network that is run within.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def preserved_random_state(model: nn.Module) -> Iterator[None]:
    """Afterwards the random state of PyTorch (on the CPU and the model's GPUs), ``random`` and ``numpy.random`` is as
    before.

    Args:
        model: the network that is run within.
    """
    gpus = {weight.device for weight in model.parameters() if weight.device.type == "cuda"}
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(list(gpus)):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def as_user_error(image_shape: tuple[int, ...]) -> Iterator[None]:
    """Turns the error of a model that cannot take images of a shape into a :class:`UserError`.

    Args:
        image_shape: channels, height and width of the images that the model is run on within.

    Raises:
        UserError: the model raised an error. Running out of memory is raised as it is.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        size = "x".join(str(length) for length in image_shape)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        message = f"the model does not accept images of {size} (channels x height x width): {reason}"
        raise UserError(message) from error


def blank_images(model: nn.Module, image_shape: tuple[int, int, int], count: int) -> Tensor:
    """Zeros [count, channels, height, width] on the device of the model's weights, and of their type."""
    return like_weights(model, torch.zeros(count, *image_shape))


def like_weights(model: nn.Module, x: Tensor) -> Tensor:
    """The images on the device of the model's first floating-point parameter, and of its type."""
    for weight in model.parameters():
        if weight.is_floating_point():
            return x.to(device=weight.device, dtype=weight.dtype)
    return x
