"""Making a model of the user's own from ``package.module:factory``."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from smskd.errors import UserError, nearest


def build_foreign(name: str, options: Mapping[str, Any], offered: Mapping[str, Any]) -> nn.Module:
    """Import the factory and call it.

    Args:
        name: ``package.module:factory``.
        options: what the factory is called with.
        offered: what it is called with besides, where its signature names it.

    Raises:
        UserError: it cannot be imported, does not take the options, or does not give an ``nn.Module``.
    """
    factory = _imported(name)
    try:
        signature = inspect.signature(factory)
    except ValueError:  # some callables of extension modules have none
        signature = inspect.Signature()
    told = {key: value for key, value in offered.items() if key in signature.parameters} | dict(options)
    try:
        model = factory(**told)
    except TypeError as error:
        given = ", ".join(f"{key}={value!r}" for key, value in told.items())
        reason = str(error).partition("\n")[0]
        raise UserError(f"model {name!r} cannot be made with ({given}): {reason}") from error
    if not isinstance(model, nn.Module):
        raise UserError(f"model {name!r} gives a {type(model).__name__}, not a torch.nn.Module")
    return model


def _imported(name: str) -> Callable[..., Any]:
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise UserError(f"model {name!r}: write package.module:factory")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UserError(f"model {name!r}: {module_name} cannot be imported: {error}") from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        callables = [word for word, value in vars(module).items() if callable(value) and word[0] != "_"]
        raise UserError(f"model {name!r}: {module_name} has no callable {attribute}{nearest(attribute, callables)}")
    found: Callable[..., Any] = factory
    return found
