"""The files of a new method or anchor: they work as written, in a checkout and elsewhere; invalid names are refused."""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smskd.cli.new_anchor import ANCHOR, write_new_anchor
from smskd.cli.new_method import METHOD, write_new_method
from smskd.cli.scaffold import Scaffold, class_name, write_term
from smskd.errors import UserError
from smskd.methods._describe import describe_term
from smskd.testing import check_anchor, check_method
from tests.support.program import everything_in

ROOT = Path(__file__).parents[2]
NAMES = ("own_term", "tensor", "a", "attention_of_the_last_three_maps", "RKD2")
KINDS = (METHOD, ANCHOR)


def _kinds() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.noun)


@pytest.fixture
def importable(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, whose modules can be imported and are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(here))
    before = set(sys.modules)
    yield here
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(here)):
            del sys.modules[name]


@pytest.fixture
def checkout(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A minimal checkout of smskd, with a folder in it as the working folder."""
    (here / "pyproject.toml").write_text('[project]\nname = "smskd"\n')
    for folder in ("src/smskd/methods", "src/smskd/anchors", "tests/methods", "tests/anchors", "docs"):
        (here / folder).mkdir(parents=True)
    imported = "\n".join(kind.imports for kind in KINDS)
    for module in (*re.findall("^from (\\S+)", imported, re.MULTILINE), "smskd.testing"):
        file = here / "src" / (module.replace(".", "/") + ".py")
        file.parent.mkdir(exist_ok=True)
        file.touch()
    monkeypatch.chdir(here / "docs")
    return here


def ruff(folder: Path, *options: str) -> None:
    """Formatted, and without lint errors."""
    for command in (["format", "--check"], ["check", "--select", "E,F,I,B,UP,SIM,RUF,PT,C4,PIE,RET"]):
        words = [sys.executable, "-m", "ruff", *command, *options, "--no-cache", "."]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@_kinds()
@pytest.mark.parametrize("name", NAMES)
def test_files_elsewhere_are_described_and_formatted(importable: Path, kind: Scaffold, name: str) -> None:
    written = write_term(kind, name, None)
    assert written.recipe_name == f"{name}:{class_name(kind, name)}"
    assert sorted(everything_in(importable)) == [f"{name}.py", f"test_{name}.py"]
    about = describe_term(kind.registry.find(written.recipe_name), name)
    assert about.title == name.replace("_", " ")[:1].upper() + name.replace("_", " ")[1:]
    assert "power" in [item.name for item in about.hyperparameters]
    ruff(importable)
    ruff(importable, "--line-length", "120")


@_kinds()
def test_a_new_term_conforms(importable: Path, kind: Scaffold) -> None:
    term = kind.registry.find(write_term(kind, "own_term", None).recipe_name)
    (check_method if kind is METHOD else check_anchor)(term)


@_kinds()
@pytest.mark.parametrize("name", NAMES)
def test_files_in_a_checkout_are_sorted_and_formatted(checkout: Path, kind: Scaffold, name: str) -> None:
    written = write_term(kind, name, None)
    assert written.source == checkout / "src/smskd" / kind.folder / f"{name}.py"
    assert written.test == checkout / "tests" / kind.folder / f"test_{name}.py"
    assert written.recipe_name == name
    imported = f"from smskd.{kind.folder}.{name} import (\n    {class_name(kind, name)},\n    {name}_loss,\n)"
    assert imported in written.test.read_text()
    (checkout / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    ruff(checkout)


def test_typed(here: Path) -> None:
    for kind in KINDS:
        write_term(kind, f"own_{kind.noun}", None)
    settings = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    words = [sys.executable, "-m", "mypy", *settings, *sorted(path.name for path in here.glob("*.py"))]
    environment = {**os.environ, "MYPYPATH": str(ROOT / "src")}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout
    assert "4 source files" in done.stdout


@_kinds()
def test_the_new_test_passes_and_can_fail(importable: Path, monkeypatch: pytest.MonkeyPatch, kind: Scaffold) -> None:
    write_term(kind, "own_term", None)
    written = importlib.import_module("test_own_term")
    written.test_conformance("loss")
    written.test_a_power_of_zero_is_refused()
    written.test_by_hand()
    monkeypatch.setattr(written, "own_term_loss", lambda one, other, power: (one - other).sum())
    with pytest.raises(AssertionError):
        written.test_by_hand()


@_kinds()
def test_a_folder_is_created_and_used(checkout: Path, kind: Scaffold) -> None:
    written = write_term(kind, "own_term", Path("new/place"))
    assert written.recipe_name == "own_term:OwnTerm"
    assert sorted(path.name for path in (checkout / "docs/new/place").iterdir()) == ["own_term.py", "test_own_term.py"]
    assert "from own_term import" in written.test.read_text()


def test_the_functions_of_the_commands(here: Path) -> None:
    method, anchor = write_new_method("own_method", None), write_new_anchor("own_anchor", None)
    assert (method.method, method.test, method.recipe_name) == (
        Path("own_method.py"),
        Path("test_own_method.py"),
        "own_method:OwnMethod",
    )
    assert (anchor.anchor, anchor.test, anchor.recipe_name) == (
        Path("own_anchor.py"),
        Path("test_own_anchor.py"),
        "own_anchor:OwnAnchor",
    )


@_kinds()
@pytest.mark.parametrize("name", ["", "own-term", "3d", "own term", "../own", "class", "None", "_own", "méthode"])
def test_invalid_names(here: Path, kind: Scaffold, name: str) -> None:
    with pytest.raises(UserError) as caught:
        write_term(kind, name, None)
    assert str(caught.value).startswith(f"'{name}' is not a valid name; use letters, digits and _")
    assert everything_in(here) == {}


@pytest.mark.parametrize(("kind", "name"), [(METHOD, "kd"), (METHOD, "reviewkd"), (ANCHOR, "l2_sp")])
def test_names_of_built_in_terms(checkout: Path, kind: Scaffold, name: str) -> None:
    before = everything_in(checkout)
    with pytest.raises(UserError, match=f"there is a built-in or installed {kind.noun} '{name}'; choose another name"):
        write_term(kind, name, None)
    assert everything_in(checkout) == before


@_kinds()
@pytest.mark.parametrize("name", ["torch", "json", "smskd", "pytest"])
def test_names_of_modules_that_would_be_hidden(here: Path, kind: Scaffold, name: str) -> None:
    with pytest.raises(UserError, match=rf"'{name}' is the name of a Python module, which {name}\.py would hide"):
        write_term(kind, name, None)
    assert everything_in(here) == {}


@_kinds()
@pytest.mark.parametrize("existing", ["own_term.py", "test_own_term.py"])
def test_existing_files_are_left_unchanged(here: Path, kind: Scaffold, existing: str) -> None:
    (here / existing).write_text("mine")
    with pytest.raises(UserError, match=f"{existing} exists already; choose another name"):
        write_term(kind, "own_term", None)
    assert everything_in(here) == {existing: b"mine"}


def test_existing_files_of_a_checkout_are_left_unchanged(checkout: Path) -> None:
    test = checkout / "tests/methods/test_golden.py"
    test.write_text("mine")
    with pytest.raises(UserError) as caught:
        write_term(METHOD, "golden", None)
    assert str(caught.value).startswith(f"{test} exists already")
    assert test.read_text() == "mine"
    assert not list((checkout / "src/smskd/methods").iterdir())


@pytest.mark.parametrize("about", ["[project]\nname = 'other'\n", "[", "[tool.x]\n"])
def test_another_project_is_not_a_checkout(checkout: Path, about: str) -> None:
    (checkout / "pyproject.toml").write_text(about)
    assert write_term(METHOD, "own_term", None).source == Path("own_term.py")


def test_class_names() -> None:
    names = ("own", "own_method", "kd2", "tensor", "none", "class_var", "user_error")
    assert [class_name(METHOD, name) for name in names] == [
        "Own",
        "OwnMethod",
        "Kd2",
        "TensorDistillation",
        "NoneDistillation",
        "ClassVarDistillation",
        "UserErrorDistillation",
    ]
    assert class_name(ANCHOR, "anchor") == "AnchorAnchoring"
