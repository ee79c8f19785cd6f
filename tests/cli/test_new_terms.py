"""`smskd new-method` and `smskd new-anchor`: the files, and their use in a recipe."""

import sys
from pathlib import Path

import pytest
import yaml

from tests.support.program import everything_in, fine, mistake


@pytest.mark.parametrize("noun", ["method", "anchor"])
def test_a_new_term_can_be_used_in_a_recipe(here: Path, noun: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, path = f"own_{noun}", f"own_{noun}:Own{noun.capitalize()}"
    assert fine(f"new-{noun}", name).splitlines() == [
        f"{name}.py",
        f"test_{name}.py",
        f"its name in a recipe: {path}",
    ]
    assert set(everything_in(here)) == {f"{name}.py", f"test_{name}.py"}
    monkeypatch.syspath_prepend(here)
    override = f"methods=fitnet,{path}" if noun == "method" else f"anchor={path}"
    last = yaml.safe_load(fine("recipe", "digits/fitnet-kd", override))["stages"][-1]
    assert path in (last["anchor"]["name"], last["methods"][0]["name"])
    assert mistake(f"new-{noun}", name).startswith(f"{name}.py ")
    del sys.modules[name]


@pytest.mark.parametrize("noun", ["method", "anchor"])
def test_the_folder_of_the_files(here: Path, noun: str) -> None:
    fine(f"new-{noun}", "own_term", "--folder", "deep/er")
    assert set(everything_in(here / "deep" / "er")) == {"own_term.py", "test_own_term.py"}
