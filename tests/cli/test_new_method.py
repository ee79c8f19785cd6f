"""`smskd new-method`: its output, training with the new method, and methods of installed packages."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smskd.registry import METHODS
from tests.support.program import everything_in, fine, mistake


@pytest.fixture
def importable(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, whose modules can be imported and are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(here))
    before = set(sys.modules)
    yield here
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(here)):
            del sys.modules[name]


def _install(folder: Path, name: str) -> None:
    """A distribution as pip installs it, whose method ``own_method:OwnMethod`` has a name."""
    about = folder / "own_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: own-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[smskd.methods]\n{name} = own_method:OwnMethod\n")
    importlib.invalidate_caches()


def test_it_prints_the_files_and_the_name_in_a_recipe(here: Path) -> None:
    assert fine("new-method", "own_method") == (
        "own_method.py\ntest_own_method.py\nits name in a recipe: own_method:OwnMethod\n"
    )
    assert sorted(everything_in(here)) == ["own_method.py", "test_own_method.py"]


def test_a_folder(here: Path) -> None:
    assert fine("new-method", "own_method", "--folder", "new/place").splitlines()[0] == "new/place/own_method.py"


@pytest.mark.parametrize("name", ["own-method", "kd", "torch"])
def test_a_name_that_cannot_be_used(here: Path, name: str) -> None:
    assert mistake("new-method", "--", name)
    assert everything_in(here) == {}


def test_training_with_it(importable: Path, taught: tuple[str, ...]) -> None:
    fine("new-method", "own_method")
    methods = "methods=[{name: 'own_method:OwnMethod', power: 1}]"
    fine("train", "digits/kd", *taught, methods, "--out", "run", "--quiet")
    assert "own_method:OwnMethod" in (importable / "run/recipe.yaml").read_text()


def test_the_installed_program_finds_the_working_folder_after_installed_packages(here: Path) -> None:
    """Python does not put the working folder on the path of an installed program."""
    fine("new-method", "own_method")
    (here / "yaml.py").write_text("raise SystemExit('taken from the working folder')\n")
    program = [sys.executable, "-P", "-c", "from smskd.cli import main; main()"]
    words = [*program, "recipe", "digits/kd", "methods=own_method:OwnMethod"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "power: 2.0" in done.stdout


def test_a_package_adds_methods_by_an_entry_point(importable: Path) -> None:
    fine("new-method", "own_method")
    _install(importable, "own")
    assert "own" in METHODS.names()
    assert METHODS.find("own") is importlib.import_module("own_method").OwnMethod
    assert METHODS.name_of(METHODS.find("own")) == "own"
    assert "name: own\n" in fine("recipe", "digits/kd", "methods=own")
    assert any(line.split()[:3] == ["own", "feature", "pooled"] for line in fine("methods").splitlines())
    assert mistake("new-method", "own").startswith("there is a built-in or installed method 'own'")


def test_a_package_must_not_take_the_name_of_a_built_in_method(importable: Path) -> None:
    fine("new-method", "own_method")
    _install(importable, "kd")
    message = mistake("methods")
    assert message.startswith("the installed method 'kd' (own_method:OwnMethod) has the name of a built-in one; ")
