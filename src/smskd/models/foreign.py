"""Making a model of the user's own from ``package.module:factory``."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from smskd.errors import UserError, nearest


def build_foreign(name: str, options: Mapping[str, Any]) -> nn.Module:
    """Import the factory and call it with the options.

    Raises:
        UserError: it cannot be imported, does not take the options, or does not give an ``nn.Module``.
    """
    factory = _imported(name)
    try:
        inspect.signature(factory).bind(**options)
    except TypeError as error:
        raise UserError(f"model {name!r} does not take the options {dict(options)}: {error}") from error
    except ValueError:
        pass  # a callable without a signature says for itself what it does not take
    try:
        model = factory(**options)
    except TypeError as error:
        raise UserError(f"model {name!r} with the options {dict(options)}: {error}") from error
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
        callables = [word for word, value in vars(module).items() if callable(value)]
        raise UserError(f"model {name!r}: {module_name} has no {attribute}{nearest(attribute, callables)}")
    found: Callable[..., Any] = factory
    return found
