"""Every input of the catalogue gives its line, and nothing else.

An entry that ends with ``...`` is the beginning of the line; ``{here}`` stands for the working folder.
"""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import smskd
from smskd.errors import UserError
from tests.support.bad_inputs import write_inputs
from tests.support.program import everything_in
from tests.support.program import smskd as run

CATALOGUE = yaml.safe_load(Path(__file__).with_name("catalogue.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("catalogue")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setenv("COLUMNS", "80")
        patch.syspath_prepend(path)
        write_inputs(path)
        yield path


@pytest.fixture(autouse=True)
def unchanged(folder: Path) -> Iterator[None]:
    """No input leaves a file."""
    before = everything_in(folder)
    yield
    after = everything_in(folder)
    new = {name for name in after.keys() - before.keys() if "__pycache__" not in name}
    assert not new
    assert all(after[name] == content for name, content in before.items())


def test_the_catalogue_is_large() -> None:
    assert sum(map(len, CATALOGUE.values())) >= 250


@pytest.mark.parametrize("command", CATALOGUE["commands"])
def test_commands(command: str, folder: Path) -> None:
    check(*shlex.split(command), line=CATALOGUE["commands"][command], folder=folder)


@pytest.mark.parametrize("override", CATALOGUE["overrides"])
def test_overrides(override: str, folder: Path) -> None:
    check("train", "tiny.yaml", override, "--out", "r", "-q", line=CATALOGUE["overrides"][override], folder=folder)


@pytest.mark.parametrize("text", CATALOGUE["recipes"])
def test_recipes(text: str, folder: Path) -> None:
    file = folder / "r.yaml"
    file.write_text(text, encoding="utf-8")
    try:
        check("train", "r.yaml", "--out", "r", "-q", line=CATALOGUE["recipes"][text], folder=folder)
    finally:
        file.unlink()


@pytest.mark.parametrize("expression", CATALOGUE["python"])
def test_python(expression: str, folder: Path) -> None:
    with pytest.raises(UserError) as error:
        eval(expression, names())
    message = str(error.value)
    assert fits(message, CATALOGUE["python"][expression], folder)
    assert "\n" not in message


def check(*words: str, line: str, folder: Path) -> None:
    outcome = run(*words)
    assert (outcome.code, outcome.out) == (2, ""), outcome
    assert outcome.err.startswith("smskd: ")
    assert outcome.err.count("\n") == 1, outcome.err
    assert fits(outcome.err.removeprefix("smskd: ").removesuffix("\n"), line, folder)


def fits(message: str, line: str, folder: Path) -> bool:
    line = line.replace("{here}", os.path.realpath(folder))
    if line.endswith("..."):
        assert message.startswith(line.removesuffix("..."))
    else:
        assert message == line
    return True


def names() -> dict[str, Any]:
    """Names that the expressions use."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    pairs = [(torch.zeros(1, 8, 8, dtype=torch.uint8), label % 10) for label in range(20)]
    distill = lambda **arguments: smskd.distill(  # noqa: E731
        **{"student": net, "teacher": net, "train": pairs, "test": pairs, "epochs": 1, "methods": ["kd"]} | arguments
    )
    return {"smskd": smskd, "torch": torch, "net": net, "pairs": pairs, "distill": distill, "inf": float("inf")}
