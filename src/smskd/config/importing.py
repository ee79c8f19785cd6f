"""Importing what a recipe names as ``package.module:Name``; whatever that code raises is told in one line."""

import importlib
import traceback
from types import ModuleType

from smskd.errors import UserError


def imported(module: str) -> ModuleType:
    """The module of this name.

    Raises:
        UserError: it is no name of a module, or it cannot be imported; the message has no place.
    """
    if not all(part.isidentifier() for part in module.split(".")):
        raise UserError(f"'{module}' is no name of a module; write package.module:Name")
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"cannot import '{module}': {error}") from None
    except (Exception, SystemExit) as error:
        raise UserError(f"cannot import '{module}': {type(error).__name__}: {error}{_place(error)}") from error


def has(thing: object, name: str) -> bool:
    """Whether there is such an attribute; a module that computes its attributes may raise anything."""
    try:
        return hasattr(thing, name)
    except Exception:
        return False


def _place(error: BaseException) -> str:
    """File and line of the code that raised an error."""
    frames = [] if isinstance(error, SyntaxError) else traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
