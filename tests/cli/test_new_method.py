"""`smskd new-method`: what it writes works as written, in a checkout and elsewhere; names that it refuses."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smskd.cli.new_method import class_name
from smskd.methods._describe import describe
from smskd.registry import METHODS
from smskd.testing import check_method
from tests.support.program import everything_in, fine, mistake

ROOT = Path(__file__).parents[2]
NAMES = ("own_method", "tensor", "a", "attention_of_the_last_three_maps", "RKD2")


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
    """What makes a checkout of smskd one, and a folder in it to work in."""
    (here / "pyproject.toml").write_text('[project]\nname = "smskd"\n')
    for folder in ("src/smskd/methods", "tests/methods", "docs"):
        (here / folder).mkdir(parents=True)
    for module in ("__init__", "adapters", "errors", "functional", "testing", "types"):
        (here / f"src/smskd/{module}.py").touch()
    monkeypatch.chdir(here / "docs")
    return here


def ruff(folder: Path, *options: str) -> None:
    """Formatted, and nothing to complain of."""
    for command in (["format", "--check"], ["check", "--select", "E,F,I,B,UP,SIM,RUF,PT,C4,PIE,RET"]):
        words = [sys.executable, "-m", "ruff", *command, *options, "--no-cache", "."]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_elsewhere_keeps_to_all_rules(importable: Path, name: str) -> None:
    assert fine("new-method", name) == (f"{name}.py\ntest_{name}.py\nits name in a recipe: {name}:{class_name(name)}\n")
    assert sorted(everything_in(importable)) == [f"{name}.py", f"test_{name}.py"]
    method = METHODS.find(f"{name}:{class_name(name)}")
    if name == NAMES[0]:
        check_method(method)
    about = describe(f"{name}:{class_name(name)}")
    assert about.title == name.replace("_", " ")[:1].upper() + name.replace("_", " ")[1:]
    assert [item.name for item in about.hyperparameters] == ["power"]
    ruff(importable)
    ruff(importable, "--line-length", "120")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_in_a_checkout_is_sorted_and_formatted(checkout: Path, name: str) -> None:
    printed = fine("new-method", name)
    method, test = checkout / f"src/smskd/methods/{name}.py", checkout / f"tests/methods/test_{name}.py"
    assert printed == f"{method}\n{test}\nits name in a recipe: {name}\n"
    assert f"from smskd.methods.{name} import (\n    {class_name(name)},\n    {name}_loss,\n)" in test.read_text()
    (checkout / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    ruff(checkout)


def test_it_is_typed(here: Path) -> None:
    fine("new-method", "own_method")
    settings = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    words = [sys.executable, "-m", "mypy", *settings, "own_method.py", "test_own_method.py"]
    environment = {**os.environ, "MYPYPATH": str(ROOT / "src")}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout


def test_the_test_that_is_written_passes_and_can_fail(importable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fine("new-method", "own_method")
    written = importlib.import_module("test_own_method")
    written.test_it_keeps_to_the_rules_of_methods("loss")
    written.test_a_power_of_zero_is_refused()
    written.test_by_hand()
    monkeypatch.setattr(written, "own_method_loss", lambda embedded, teacher, power: (embedded - teacher).sum())
    with pytest.raises(AssertionError):
        written.test_by_hand()


def test_a_folder_is_made_and_used(checkout: Path) -> None:
    assert fine("new-method", "own_method", "--folder", "new/place").splitlines()[-1].endswith("own_method:OwnMethod")
    assert sorted(path.name for path in (checkout / "docs/new/place").iterdir()) == [
        "own_method.py",
        "test_own_method.py",
    ]
    assert "from own_method import" in (checkout / "docs/new/place/test_own_method.py").read_text()


def test_it_is_trained(importable: Path, taught: tuple[str, ...]) -> None:
    fine("new-method", "own_method")
    methods = "methods=[{name: 'own_method:OwnMethod', power: 1}]"
    fine("train", "digits/kd", *taught, methods, "--out", "run", "--quiet")
    assert "own_method:OwnMethod" in (importable / "run/recipe.yaml").read_text()


def test_the_installed_program_finds_the_working_folder_behind_all_that_is_installed(here: Path) -> None:
    """Python does not put the working folder on the path of a program that is installed."""
    fine("new-method", "own_method")
    (here / "yaml.py").write_text("raise SystemExit('taken from the working folder')\n")
    program = [sys.executable, "-P", "-c", "from smskd.cli import main; main()"]
    words = [*program, "recipe", "digits/kd", "methods=own_method:OwnMethod"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "power: 2.0" in done.stdout


@pytest.mark.parametrize("name", ["", "own-method", "3d", "own method", "../own", "class", "None", "_own", "méthode"])
def test_names_that_are_none(here: Path, name: str) -> None:
    message = mistake("new-method", "--", name)
    assert message.startswith(f"'{name}' is no name for a method; write letters, digits and _")
    assert everything_in(here) == {}


@pytest.mark.parametrize("name", ["kd", "reviewkd"])
def test_names_of_built_in_methods(here: Path, checkout: Path, name: str) -> None:
    before = everything_in(here)
    assert mistake("new-method", name).startswith(f"there is a method '{name}' already; choose another name")
    assert everything_in(here) == before


@pytest.mark.parametrize("name", ["torch", "json", "smskd", "pytest"])
def test_names_of_modules_that_would_be_hidden(here: Path, name: str) -> None:
    assert mistake("new-method", name).startswith(f"'{name}' is the name of a Python module, which {name}.py would")
    assert everything_in(here) == {}


@pytest.mark.parametrize("existing", ["own_method.py", "test_own_method.py"])
def test_existing_files_are_left_alone(here: Path, existing: str) -> None:
    (here / existing).write_text("mine")
    assert mistake("new-method", "own_method").startswith(f"{existing} is there already; choose another name")
    assert everything_in(here) == {existing: b"mine"}


def test_existing_files_of_a_checkout_are_left_alone(checkout: Path) -> None:
    test = checkout / "tests/methods/test_golden.py"
    test.write_text("mine")
    assert mistake("new-method", "golden").startswith(f"{test} is there already")
    assert test.read_text() == "mine"
    assert not list((checkout / "src/smskd/methods").iterdir())


@pytest.mark.parametrize("about", ["[project]\nname = 'other'\n", "[", "[tool.x]\n"])
def test_another_project_is_no_checkout(checkout: Path, about: str) -> None:
    (checkout / "pyproject.toml").write_text(about)
    assert fine("new-method", "own_method").startswith("own_method.py\n")


def test_class_names() -> None:
    assert [class_name(name) for name in ("own", "own_method", "kd2", "tensor", "none", "class_var", "user_error")] == [
        "Own",
        "OwnMethod",
        "Kd2",
        "TensorDistillation",
        "NoneDistillation",
        "ClassVarDistillation",
        "UserErrorDistillation",
    ]


def test_a_package_adds_methods_by_an_entry_point(importable: Path) -> None:
    """A distribution as pip installs it: a module, and a folder of what is said of it."""
    fine("new-method", "own_method")
    about = importable / "own_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: own-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[smskd.methods]\nown = own_method:OwnMethod\n")
    importlib.invalidate_caches()
    assert "own" in METHODS.names()
    assert METHODS.find("own") is importlib.import_module("own_method").OwnMethod
    assert METHODS.name_of(METHODS.find("own")) == "own"
    assert "methods:\n  - name: own\n" in fine("recipe", "digits/kd", "methods=own").replace(
        "methods:\n- ", "methods:\n  - "
    )
    assert any(line.split()[:4] == ["own", "feature", "pooled", "embed"] for line in fine("methods").splitlines())
    assert mistake("new-method", "own").startswith("there is a method 'own' already")


def test_a_package_must_not_take_the_name_of_a_built_in_method(importable: Path) -> None:
    fine("new-method", "own_method")
    about = importable / "own_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: own-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[smskd.methods]\nkd = own_method:OwnMethod\n")
    importlib.invalidate_caches()
    message = mistake("methods")
    assert message.startswith("the installed method 'kd' (own_method:OwnMethod) has the name of a built-in one; ")
