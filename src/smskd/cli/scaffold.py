"""Writes a loss term and its test from templates: a complete, working example to be edited."""

import ast
import keyword
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

from smskd.errors import UserError
from smskd.registry import ClassRegistry
from smskd.runs.atomic_files import write_text

_TORCH = "from torch import Tensor, nn"


@dataclass(frozen=True)
class Scaffold:
    """A kind of term that can be written.

    Attributes:
        noun: ``method`` or ``anchor``; the templates are ``<noun>.txt`` and ``test_<noun>.txt``.
        folder: of its files in a checkout, below ``src/smskd`` and ``tests``.
        registry: finds terms of this kind.
        imports: lines that import names of smskd, sorted.
        checks: name in :mod:`smskd.testing` of the conformance checks.
    """

    noun: str
    folder: str
    registry: ClassRegistry
    imports: str
    checks: str


@dataclass(frozen=True)
class Written:
    """The files of a new term.

    Attributes:
        source: the term.
        test: its test.
        recipe_name: name of the term in a recipe.
    """

    source: Path
    test: Path
    recipe_name: str


def write_term(kind: Scaffold, name: str, folder: Path | None) -> Written:
    """Writes the file of a term and its test.

    In a checkout of smskd they go to the folders of their kind, elsewhere to the working folder.

    Args:
        kind: of the term.
        name: of the file, and of the term in a checkout.
        folder: for both files instead.

    Raises:
        UserError: the name is not a valid module name, or it is taken.
    """
    _check_name(kind, name)
    root = _checkout(Path.cwd()) if folder is None else None
    if root is not None:
        source = root / "src/smskd" / kind.folder / f"{name}.py"
        test = root / "tests" / kind.folder / f"test_{name}.py"
    else:
        source, test = (folder or Path()) / f"{name}.py", (folder or Path()) / f"test_{name}.py"
    for path in (source, test):
        if path.exists():
            raise UserError(f"{path} exists already; choose another name, or remove it")
    if root is None and find_spec(name) is not None:
        raise UserError(f"'{name}' is the name of a Python module, which {source} would hide; choose another name")
    inside = root is not None
    write_text(source, _filled(kind, f"{kind.noun}.txt", name, _source_imports(kind, inside)))
    write_text(test, _filled(kind, f"test_{kind.noun}.txt", name, _test_imports(kind, name, inside)))
    return Written(source, test, name if inside else f"{name}:{class_name(kind, name)}")


def class_name(kind: Scaffold, name: str) -> str:
    """The name of the class: ``own_method`` is ``OwnMethod``; with a suffix where the file imports that name."""
    words = "".join(word[:1].upper() + word[1:] for word in name.split("_"))
    suffix = "Distillation" if kind.noun == "method" else "Anchoring"
    return f"{words}{suffix}" if words in _imported_names(kind) or keyword.iskeyword(words) else words


def _check_name(kind: Scaffold, name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_") or not name.isascii():
        raise UserError(
            f"'{name}' is not a valid name; use letters, digits and _, such as own_{kind.noun}, and no Python keyword"
        )
    if name in kind.registry.names():
        raise UserError(f"there is a built-in or installed {kind.noun} '{name}'; choose another name")


def _checkout(folder: Path) -> Path | None:
    """The root of the checkout of smskd that a folder is in."""
    for root in (folder, *folder.parents):
        project = root / "pyproject.toml"
        if project.is_file() and (root / "src/smskd/methods").is_dir():
            try:
                about = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
            except (tomllib.TOMLDecodeError, UnicodeDecodeError):
                continue
            if about.get("name") == "smskd":
                return root
    return None


def _filled(kind: Scaffold, template: str, name: str, imports: str) -> str:
    text = files("smskd.cli").joinpath("templates", template).read_text(encoding="utf-8")
    title = name.replace("_", " ").strip()
    values = {"name": name, "cls": class_name(kind, name), "title": title[:1].upper() + title[1:], "imports": imports}
    return Template(text).substitute(values)


def _source_imports(kind: Scaffold, inside: bool) -> str:
    """In the order of ruff: in the checkout smskd is first-party, elsewhere a library like torch."""
    return f"{_TORCH}\n\n{kind.imports}" if inside else f"{kind.imports}\n{_TORCH}"


def _test_imports(kind: Scaffold, name: str, inside: bool) -> str:
    own = f"import (\n    {class_name(kind, name)},\n    {name}_loss,\n)"
    errors, checks = "from smskd.errors import UserError", f"from smskd.testing import {kind.checks}"
    if not inside:
        return f"import pytest\nimport torch\n{errors}\n{checks}\n\nfrom {name} {own}"
    lines = [errors, f"from smskd.{kind.folder}.{name} {own}", checks]
    return "import pytest\nimport torch\n\n" + "\n".join(sorted(lines))


def _imported_names(kind: Scaffold) -> set[str]:
    """The names that the two files import."""
    tree = ast.parse(f"{_TORCH}\n{kind.imports}\nfrom smskd.errors import UserError\nfrom typing import ClassVar")
    return {alias.name for statement in tree.body if isinstance(statement, ast.ImportFrom) for alias in statement.names}
