"""Finds methods: files of this package, the entry-point group ``smskd.methods``, ``package.module:Class``.

The names are read without importing a method, and so without importing torch.
"""

import importlib
import inspect
import pkgutil
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from smskd.errors import UserError, nearest

if TYPE_CHECKING:
    from smskd.interfaces.terms import Method

GROUP = "smskd.methods"
_PACKAGE = "smskd.methods"
_NOT_METHODS = frozenset({"discovery", "describe"})


def names() -> tuple[str, ...]:
    """The names under which methods can be found, sorted.

    Raises:
        UserError: two installed methods have the same name.
    """
    return tuple(sorted(_builtin_names() | _installed().keys()))


def find(name: str) -> "type[Method]":
    """The class of a method.

    Args:
        name: a built-in name such as ``kd``, the name of an entry point, or ``package.module:Class``.

    Raises:
        UserError: no such method, or what was found is not one.
    """
    if ":" in name:
        return _from_path(name)
    installed = _installed()
    if name in _builtin_names():
        return _builtin_class(name)
    if name in installed:
        return _from_path(installed[name].value)
    raise UserError(f"unknown method '{name}'{nearest(name, names())}")


def name_of(method: "Method | type[Method]") -> str:
    """The name under which :func:`find` finds the class of a method again."""
    cls = method if isinstance(method, type) else type(method)
    package, _, module = cls.__module__.rpartition(".")
    if package == _PACKAGE and module in _builtin_names():
        return module
    path = f"{cls.__module__}:{cls.__qualname__}"
    for name, point in _installed().items():
        if point.value == path:
            return name
    return path


def _builtin_names() -> set[str]:
    files = pkgutil.iter_modules([str(Path(__file__).parent)])
    return {file.name for file in files if not file.name.startswith("_")} - _NOT_METHODS


def _installed() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        if point.name in _builtin_names():
            raise UserError(
                f"the installed method '{point.name}' ({point.value}) has the name of a built-in one; "
                f"rename its entry point in the group {GROUP}"
            )
        if point.name in found and found[point.name].value != point.value:
            raise UserError(
                f"two installed methods are called '{point.name}': {found[point.name].value} and "
                f"{point.value}; uninstall one or name it as package.module:Class"
            )
        found[point.name] = point
    return found


def _builtin_class(name: str) -> "type[Method]":
    module = importlib.import_module(f"{_PACKAGE}.{name}")
    own = [
        value
        for key, value in vars(module).items()
        if _is_method(value) and value.__module__ == module.__name__ and not key.startswith("_")
    ]
    if len(own) != 1:
        raise TypeError(f"{module.__name__} must define one public subclass of Method, not {len(own)}")
    cls: type[Method] = own[0]
    return cls


def _from_path(path: str) -> "type[Method]":
    module_name, _, attribute = path.partition(":")
    try:
        found: object = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise UserError(f"method '{path}': cannot import '{module_name}': {error}") from None
    for part in attribute.split("."):
        if not hasattr(found, part):
            valid = [key for key, value in vars(found).items() if _is_method(value)]
            hint = nearest(part, valid) if valid else ""
            raise UserError(f"method '{path}': '{module_name}' has no '{attribute}'{hint}")
        found = getattr(found, part)
    if not _is_method(found):
        raise UserError(f"method '{path}' is not a subclass of smskd.interfaces.terms.Method")
    cls: type[Method] = found  # type: ignore[assignment]
    return cls


def _is_method(value: object) -> bool:
    from smskd.interfaces.terms import Method

    return inspect.isclass(value) and issubclass(value, Method) and not inspect.isabstract(value)
