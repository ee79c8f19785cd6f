"""The error of a network that does not accept inputs of a form, and the size of images that it does accept."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from smskd.errors import UserError
from smskd.interfaces.inputs import InputForm, described
from smskd.models.dry_run import blank_inputs, preserve_state

_SIZES = (32, 48, 64, 75, 96, 112, 128, 160, 192, 224, 240, 256, 288, 299, 320, 384, 448, 512)
"""Sizes of square images that are tried, among them those that published networks are made for."""

_IMAGES = 2


@contextmanager
def as_user_error(model: nn.Module, form: InputForm) -> Iterator[None]:
    """Turns the error of a network that cannot take inputs of a form into a :class:`UserError`.

    Args:
        model: the network.
        form: of the samples that the network is run on within.

    Raises:
        UserError: the network raised an error; a size that it accepts is named where there is one. Running out of
            memory is raised as it is.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        hint = accepted_size(model, form)
        raise UserError(f"the model does not accept {_in_words(form)}: {reason}{hint}") from error


def _in_words(form: InputForm) -> str:
    if not isinstance(form, tuple):
        return f"inputs of {described(form)}"
    return f"images of {'x'.join(map(str, form))} (channels x height x width)"


def accepted_size(model: nn.Module, form: InputForm, *, train: bool = False) -> str:
    """``; it accepts images of 96x96``: the least of some larger sizes, then of smaller ones, that a network accepts.

    Args:
        model: the network; it is left as it was.
        form: of samples on which it, or something else, has failed; sizes are tried for images alone.
        train: whether it is run in train mode, in which auxiliary heads need larger images.

    Returns:
        The end of a sentence; empty where it accepts these images, or none of the sizes.
    """
    if not isinstance(form, tuple) or accepts(model, form, train=train):
        return ""
    channels, height, width = form
    larger = [size for size in _SIZES if size > min(height, width)]
    for size in larger + [size for size in reversed(_SIZES) if size < min(height, width)]:
        if accepts(model, (channels, size, size), train=train):
            return f"; it accepts images of {size}x{size}"
    return ""


def accepts(model: nn.Module, image_shape: tuple[int, int, int], *, train: bool = False) -> bool:
    """Whether a network accepts images of a shape; see :func:`accepted_size`."""
    try:
        with preserve_state(model):
            (model.train() if train else model)(blank_inputs(model, image_shape, _IMAGES))
    except Exception:  # whatever the network raises for images of a size
        return False
    return True
