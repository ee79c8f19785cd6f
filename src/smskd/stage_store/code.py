"""The code that a stage is trained with: a store must not give a stage that other code has trained."""

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

_OUTSIDE_OF_TRAINING = (
    "__main__.py",
    "analysis",
    "bench",
    "cli",
    "diagnostics",
    "report",
    "stage_store",
    "sweeps",
    "testing",
)
"""Packages that no result depends on."""

_OWN = __name__.partition(".")[0]

_LIBRARIES = ("site-packages", "dist-packages")


@cache
def own_code() -> str:
    """SHA-256 of the modules of this package that results depend on, hexadecimal."""
    root = Path(__file__).parents[1]
    files = [file for file in _sources(root) if file.relative_to(root).parts[0] not in _OUTSIDE_OF_TRAINING]
    return _digest((str(file.relative_to(root)), file) for file in files)


def foreign_code(modules: Iterable[str]) -> dict[str, str]:
    """What identifies the code of modules that are not of this package, by the names of the top-level ones.

    Of an installed library it is its version; of any other module the SHA-256 of its source files, and of those that it
    imports and that are no libraries.

    Args:
        modules: that have been imported.

    Raises:
        ValueError: the source of one cannot be found; the message is its name.
    """
    names = {module.partition(".")[0] for module in modules} - {_OWN, "torch", *sys.stdlib_module_names}
    return {name: _code_of(name) for name in sorted(names)}


def _code_of(top: str) -> str:
    file = _file_of(top)
    if file is None:
        raise ValueError(top)
    version = getattr(sys.modules.get(top), "__version__", None)
    if _is_library(file) and isinstance(version, str):
        return f"version {version}"
    files: dict[Path, None] = {}
    _collect(file, files)
    return _digest((path.name, path) for path in files)


def _file_of(top: str) -> Path | None:
    """The source file of a top-level module: of a package its ``__init__.py``, or its folder without one."""
    module = sys.modules.get(top)
    places: list[str] = [str(getattr(module, "__file__", None) or ""), *map(str, getattr(module, "__path__", ()))]
    if module is None:
        spec = PathFinder.find_spec(top)
        if spec is not None:
            places = [spec.origin or "", *(spec.submodule_search_locations or ())]
    return next((Path(place) for place in places if place and Path(place).exists()), None)


def _collect(file: Path, files: dict[Path, None]) -> None:
    """Adds a module's file, or all those of its package, and those of the modules that they import."""
    if file in files:
        return
    folder = file.parent if file.name == "__init__.py" else file if file.is_dir() else None
    own = [file] if folder is None else _sources(folder)
    files |= dict.fromkeys([*own, file] if file.is_file() else own)
    for name in {name for source in own for name in _imported(source)}:
        if name == _OWN or name in sys.stdlib_module_names:
            continue
        found = _file_of(name)
        if found is not None and not _is_library(found):
            _collect(found, files)


def _imported(source: Path) -> Iterator[str]:
    """The top-level names that a source file imports, anywhere in it."""
    try:
        tree = ast.parse(source.read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if path.is_file())


def _is_library(file: Path) -> bool:
    installed = Path(sysconfig.get_path("stdlib"))
    return any(part in _LIBRARIES for part in file.parts) or file.is_relative_to(installed)


def _digest(files: Iterable[tuple[str, Path]]) -> str:
    contents = sorted((name, hashlib.sha256(file.read_bytes()).hexdigest()) for name, file in files)
    return hashlib.sha256(repr(contents).encode()).hexdigest()
