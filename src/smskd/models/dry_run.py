"""Running a model once to learn about it, and leaving it as it was."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from smskd.interfaces.inputs import InputForm, Inputs, X, mapped_inputs, repeated
from smskd.turns import held


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
    with held():
        python, numpy = random.getstate(), np.random.get_state()
        try:
            with torch.random.fork_rng(list(gpus)):
                yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def blank_inputs(model: nn.Module, form: InputForm, count: int) -> Inputs:
    """Black images [count, channels, height, width], or the samples of the example again and again, for a model."""
    if isinstance(form, tuple):
        return like_weights(model, torch.zeros(count, *form))
    return like_weights(model, repeated(form, count))


def like_weights(model: nn.Module, x: X) -> X:
    """The inputs on the device of the model's first floating-point parameter; floats are of its type."""
    for weight in model.parameters():
        if weight.is_floating_point():
            return mapped_inputs(x, partial(_like, weight))
    return x


def _like(weight: Tensor, x: Tensor) -> Tensor:
    return x.to(device=weight.device, dtype=weight.dtype if x.is_floating_point() else x.dtype)
