import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from smskd import methods
from smskd.errors import UserError
from smskd.interfaces.terms import Method
from smskd.methods.kd import KD
from smskd.registry import METHODS

PACKAGE = Path(methods.__file__).parent


class Own(KD):
    """A method of a user's own."""


def _install(monkeypatch: pytest.MonkeyPatch, **methods: str) -> None:
    points = [EntryPoint(name, value, METHODS.group) for name, value in methods.items()]
    monkeypatch.setattr("smskd.registry.entry_points", lambda group: points if group == METHODS.group else [])


def test_names_are_the_files_of_the_package() -> None:
    files = {file.stem for file in PACKAGE.glob("*.py")}
    assert set(METHODS.names()) == files - {"__init__", "_describe"}
    assert {"kd", "fitnet", "at", "sp", "rkd", "pkt", "vid", "crd"} <= set(METHODS.names())


def test_names_are_found_without_importing_torch() -> None:
    code = "import sys; from smskd.registry import METHODS; names(); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


@pytest.mark.parametrize("name", METHODS.names())
def test_every_name_is_found_and_told_again(name: str) -> None:
    cls = METHODS.find(name)
    assert issubclass(cls, Method)
    assert METHODS.name_of(cls) == name
    assert METHODS.name_of(cls()) == name


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown method 'fitnets'; did you mean 'fitnet'\?"):
        METHODS.find("fitnets")


def test_a_name_near_to_none_is_answered_with_the_list() -> None:
    with pytest.raises(UserError, match=r"unknown method 'zzzzz'; choose from .*fitnet.*, kd, "):
        METHODS.find("zzzzz")


@pytest.mark.parametrize("name", ["_describe", "__init__"])
def test_the_other_files_of_the_package_are_no_methods(name: str) -> None:
    with pytest.raises(UserError, match="unknown method"):
        METHODS.find(name)


def test_a_path_leads_to_a_class_and_back() -> None:
    path = f"{Own.__module__}:Own"
    assert METHODS.find(path) is Own
    assert METHODS.name_of(Own) == path


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no.such.module:KD", "method 'no.such.module:KD': cannot import 'no.such.module'"),
        ("smskd.methods.kd:KDD", "method 'smskd.methods.kd:KDD': .* has no 'KDD'; did you mean 'KD'"),
        ("smskd.methods.kd:kd_loss", "method 'smskd.methods.kd:kd_loss' is not a subclass of"),
        (":KD", "method ':KD': cannot import ''"),
    ],
)
def test_a_path_that_leads_nowhere_says_where_it_ends(path: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        METHODS.find(path)
    assert "\n" not in str(caught.value)


def test_an_entry_point_is_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, own=f"{Own.__module__}:Own")
    assert "own" in METHODS.names()
    assert METHODS.find("own") is Own
    assert METHODS.name_of(Own) == "own"


@pytest.mark.parametrize("ask", [METHODS.names, lambda: METHODS.find("kd")])
def test_an_entry_point_must_not_take_a_built_in_name(monkeypatch: pytest.MonkeyPatch, ask: object) -> None:
    _install(monkeypatch, kd=f"{Own.__module__}:Own")
    with pytest.raises(UserError, match=r"the installed method 'kd' .* has the name of a built-in one"):
        ask()  # type: ignore[operator]


def test_two_entry_points_of_a_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("own", value, METHODS.group) for value in ("a:A", "b:B")]
    monkeypatch.setattr("smskd.registry.entry_points", lambda group: points)
    with pytest.raises(UserError, match="two installed methods are called 'own': a:A and b:B"):
        METHODS.names()
