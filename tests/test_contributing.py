"""The steps of CONTRIBUTING.md, run in a copy of the checkout: every command and every block of code."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COPIED = ("src", "tests", "docs", "recipes", "benchmarks", "pyproject.toml", "Makefile", "README.md", "mkdocs.yml")

_FENCE = re.compile(
    r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<code>.*?)^```$', re.MULTILINE | re.DOTALL
)
_DOCSTRING = re.compile(r'\Ar""".*?"""\n', re.DOTALL)
_LINK = re.compile(r"\]\(([^)#]+)")
_PROGRAM = "from smskd.cli import main; main()"


@dataclass(frozen=True)
class Checkout:
    """A copy of this checkout, in which the steps are run.

    Attributes:
        outputs: the last output of each program.
    """

    root: Path
    outputs: dict[str, str] = field(default_factory=dict)

    def follow(self, language: str, title: str | None, code: str) -> None:
        """Runs a block, or makes the edit that it describes."""
        if language == "console":
            for line in code.splitlines():
                self.run(shlex.split(line))
        elif title is None:
            pytest.fail(f"a block without a title that is no command:\n{code}")
        elif " " not in title and language == "python":
            (self.root / title).write_text(code, encoding="utf-8")
        else:
            EDITS[title](self, code)

    def run(self, words: list[str]) -> None:
        program, *arguments = words
        if program == "make":
            targets = re.findall(r"^([\w-]+):", (self.root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
            assert set(arguments) <= set(targets)
            return
        command = {
            "smskd": [sys.executable, "-c", _PROGRAM],
            "python": [sys.executable],
            "pytest": [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"],
        }[program]
        source = str(self.root / "src")
        environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
        for name in ("SMSKD_GOLDEN", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
            environment.pop(name, None)
        done = subprocess.run([*command, *arguments], cwd=self.root, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
        self.outputs[program] = done.stdout

    def docstring(self, code: str) -> None:
        """Replaces the docstring of the file."""
        path = self.root / "src/smskd/methods/own_method.py"
        text, replaced = _DOCSTRING.subn(lambda match: code, path.read_text(encoding="utf-8"))
        assert replaced == 1
        path.write_text(text, encoding="utf-8")

    def spec(self, code: str) -> None:
        """Adds a line to the table."""
        path = self.root / "tests/methods/test_golden.py"
        text = path.read_text(encoding="utf-8")
        first = '        "kd": Spec('
        assert text.count(first) == 1
        path.write_text(text.replace(first, code + first), encoding="utf-8")

    def golden(self, code: str) -> None:
        """Adds an entry."""
        path = self.root / "src/smskd/methods/golden.json"
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | json.loads(code)), encoding="utf-8")


EDITS: dict[str, Callable[[Checkout, str], None]] = {
    "docstring of src/smskd/methods/own_method.py": Checkout.docstring,
    "SPECS in tests/methods/test_golden.py": Checkout.spec,
    "src/smskd/methods/golden.json": Checkout.golden,
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """In which every step has been followed."""
    root = tmp_path_factory.mktemp("checkout")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)
    followed = Checkout(root)
    for block in _FENCE.finditer(PAGE):
        followed.follow(block["language"], block["title"], block["code"])
    return followed


def test_the_steps(checkout: Checkout) -> None:
    tests = checkout.outputs["pytest"]
    assert " passed" in tests
    assert "failed" not in tests
    shown = " ".join(checkout.outputs["smskd"].split())
    assert shown.startswith("own_method: Fitted features")
    assert "golden equals published code in 1 test" in shown


def test_a_golden_file_that_does_not_agree_is_noticed(checkout: Checkout) -> None:
    program = checkout.root / "make_golden.py"
    program.write_text(program.read_text(encoding="utf-8").replace('"p": 2.0', '"p": 1.0'), encoding="utf-8")
    checkout.run(["python", program.name])
    with pytest.raises(AssertionError, match="loss: off by"):
        checkout.run(["pytest", "tests/methods/test_golden.py", "-k", "own_method"])


def test_its_links_lead_somewhere() -> None:
    targets = [target for target in _LINK.findall(PAGE) if "://" not in target]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
