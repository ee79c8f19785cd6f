"""Running a model once to learn about it, without leaving a trace on it."""

import math
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from smskd.errors import UserError
from smskd.interfaces.features import LOGITS, FeatureLayout, FeatureModel


@contextmanager
def preserve_state(model: nn.Module) -> Iterator[None]:
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
def as_user_error(image_shape: tuple[int, ...]) -> Iterator[None]:
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


def blank_images(model: nn.Module, image_shape: tuple[int, int, int], count: int) -> Tensor:
    """Zeros [count, channels, height, width] where the model's weights are, and of their type."""
    return like_weights(model, torch.zeros(count, *image_shape))


def like_weights(model: nn.Module, x: Tensor) -> Tensor:
    """The pictures on the device of the model's floating-point weights, and of their type."""
    for weight in model.parameters():
        if weight.is_floating_point():
            return x.to(device=weight.device, dtype=weight.dtype)
    return x


_PICTURES = 2


def describe(model: FeatureModel, image_shape: tuple[int, int, int]) -> FeatureLayout:
    """The shape of each feature of one picture, and the number of classes.

    The model is run on two black pictures, where its weights are, in eval mode and without gradients. Its
    modes and buffers are left as they were.

    Args:
        model: the model.
        image_shape: channels, height and width of the pictures.

    Returns:
        The layout; its features are in network order.

    Raises:
        UserError: the model takes no such pictures, or its output is not [pictures, classes].
    """
    names = model.feature_names
    with preserve_state(model), as_user_error(image_shape):
        tensors = model.extract(blank_images(model, image_shape, _PICTURES), (*names, LOGITS))
    return FeatureLayout(
        features={name: tuple(tensors[name].shape[1:]) for name in names},
        classes=_classes(tensors[LOGITS]),
        preactivations=model.preactivation_names,
    )


def _classes(logits: Tensor) -> int:
    shape = tuple(logits.shape)
    if len(shape) != 2 or shape[0] != _PICTURES:
        raise UserError(
            f"the model's output for {_PICTURES} pictures has the shape {list(shape)};"
            f" a classifier's is [{_PICTURES}, classes]"
        )
    return shape[1]


def parameters(model: nn.Module) -> int:
    """The number of parameters, shared ones counted once, buffers not at all."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """The multiply-accumulates of the convolutions and linear layers for one picture.

    Biases, batch norms, activations, pooling and products of activations (attention) are not counted. The
    model is run once on a black picture and left as it was.

    Args:
        model: any network that takes pictures [N, channels, height, width].
        image_shape: channels, height and width of the picture.

    Raises:
        UserError: the model takes no such pictures.
    """
    counts: list[int] = []
    layers = [module for module in model.modules() if isinstance(module, _ConvNd | nn.Linear)]
    handles = [layer.register_forward_hook(partial(_count, counts)) for layer in layers]
    try:
        with preserve_state(model), as_user_error(image_shape):
            model(blank_images(model, image_shape, count=1))
    finally:
        for handle in handles:
            handle.remove()
    return sum(counts)


def _count(counts: list[int], layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    if isinstance(layer, nn.Linear):
        counts.append(output.numel() * layer.in_features)
    elif isinstance(layer, _ConvTransposeNd):
        counts.append(inputs[0].numel() * layer.weight[0].numel())
    elif isinstance(layer, _ConvNd):
        counts.append(output.numel() * math.prod(layer.weight.shape[1:]))


BATCH_SIZES = (1, 64)


_WARM_UP, _REPETITIONS, _SECONDS = 2, 20, 0.5


def latency(model: nn.Module, example: Tensor) -> dict[str, float | None]:
    """Milliseconds for a batch, by the number of its pictures: the median of some repetitions, in eval mode.

    Args:
        model: on the example's device; it is left as it was.
        example: a picture [1, channels, height, width].

    Returns:
        None for a batch for which a GPU's memory is too small.
    """
    return {str(size): _milliseconds(model, example, size) for size in BATCH_SIZES}


@torch.no_grad()
def _milliseconds(model: nn.Module, example: Tensor, size: int) -> float | None:
    try:
        return round(1000 * statistics.median(_seconds(model, example, size)), 3)
    except torch.OutOfMemoryError:
        return None


def _seconds(model: nn.Module, example: Tensor, size: int) -> list[float]:
    x = example.expand(size, -1, -1, -1).contiguous(memory_format=torch.channels_last)
    times: list[float] = []
    with in_eval_mode(model):
        for _ in range(_WARM_UP):
            model(x)
        _wait(x.device)
        while len(times) < _REPETITIONS and (len(times) < 3 or sum(times) < _SECONDS):
            started = time.perf_counter()
            model(x)
            _wait(x.device)
            times.append(time.perf_counter() - started)
    return times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode within; afterwards every module is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
