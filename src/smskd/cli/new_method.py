"""Writes a method and its test: a complete example, to be changed into the method that one wants."""

import ast
import keyword
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

from smskd.errors import UserError
from smskd.registry import METHODS
from smskd.runs.atomic_files import write_text

_SMSKD = """from smskd.ops.pairing import linear_embedding, pooled_vectors
from smskd.errors import require_positive
from smskd.functional import full_precision
from smskd.types import (
    Batch,
    DataInfo,
    Kind,
    Layout,
    Method,
    Output,
    Side,
    Taps,
)"""
_TORCH = "from torch import Tensor, nn"


@dataclass(frozen=True)
class NewMethod:
    """What was written.

    Attributes:
        method, test: the two files.
        recipe_name: the method's name in a recipe.
    """

    method: Path
    test: Path
    recipe_name: str


def write_new_method(name: str, folder: Path | None) -> NewMethod:
    """Writes the method's file and its test.

    In a checkout of smskd they go to its methods and tests, elsewhere to the working folder.

    Args:
        name: of the file, and of the method in a checkout.
        folder: where both go instead.

    Raises:
        UserError: the name is no name for a module, or it is taken.
    """
    _check_name(name)
    root = _checkout(Path.cwd()) if folder is None else None
    if root is not None:
        method, test = root / "src/smskd/methods" / f"{name}.py", root / "tests/methods" / f"test_{name}.py"
    else:
        method, test = (folder or Path()) / f"{name}.py", (folder or Path()) / f"test_{name}.py"
    for path in (method, test):
        if path.exists():
            raise UserError(f"{path} is there already; choose another name, or remove it")
    if root is None and find_spec(name) is not None:
        raise UserError(f"'{name}' is the name of a Python module, which {method} would hide; choose another name")
    write_text(method, _filled("method.txt", name, _method_imports(root is not None)))
    write_text(test, _filled("test_method.txt", name, _test_imports(name, root is not None)))
    return NewMethod(method, test, name if root is not None else f"{name}:{class_name(name)}")


def class_name(name: str) -> str:
    """The class's name: ``own_method`` is ``OwnMethod``; another one where the file imports that name."""
    words = "".join(word[:1].upper() + word[1:] for word in name.split("_"))
    return f"{words}Distillation" if words in _imported_names() or keyword.iskeyword(words) else words


def _check_name(name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_") or not name.isascii():
        raise UserError(
            f"'{name}' is no name for a method; write letters, digits and _, such as own_method, and no Python keyword"
        )
    if name in METHODS.names():
        raise UserError(f"there is a method '{name}' already; choose another name (smskd methods lists them)")


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


def _filled(template: str, name: str, imports: str) -> str:
    text = files("smskd.cli").joinpath("templates", template).read_text(encoding="utf-8")
    title = name.replace("_", " ").strip()
    values = {"name": name, "cls": class_name(name), "title": title[:1].upper() + title[1:], "imports": imports}
    return Template(text).substitute(values)


def _method_imports(inside: bool) -> str:
    """As ruff sorts them: within the checkout smskd is the first party, elsewhere one library of two."""
    return f"{_TORCH}\n\n{_SMSKD}" if inside else f"{_SMSKD}\n{_TORCH}"


def _test_imports(name: str, inside: bool) -> str:
    own = f"import (\n    {class_name(name)},\n    {name}_loss,\n)"
    if inside:
        smskd = f"from smskd.errors import UserError\nfrom smskd.methods.{name} {own}\n"
        return f"import pytest\nimport torch\n\n{smskd}from smskd.testing import CHECKS"
    smskd = "from smskd.errors import UserError\nfrom smskd.testing import CHECKS"
    return f"import pytest\nimport torch\n{smskd}\n\nfrom {name} {own}"


def _imported_names() -> set[str]:
    """The names that the two files get from elsewhere."""
    tree = ast.parse(f"{_TORCH}\n{_SMSKD}\nfrom smskd.errors import UserError\nfrom typing import ClassVar")
    return {alias.name for statement in tree.body if isinstance(statement, ast.ImportFrom) for alias in statement.names}
