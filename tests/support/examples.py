"""The examples on a page of the documentation: found, written to files, run or at least checked."""

import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from smskd.cli.app import app
from smskd.recipe import parse, read
from smskd.recipe.read import load_yaml
from smskd.strategies.resolve import resolve
from smskd.sweeps.plan import plan
from smskd.sweeps.space import points
from smskd.sweeps.sweep_file import read_sweep

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

LONG = "<!-- long: only parsed -->"
"""Precedes a block of commands, or of Python, that would take too long to run."""

_FENCE = re.compile(
    rf"^(?P<long>{re.escape(LONG)}\n)?```(?P<language>\w+)(?P<info>[^\n]*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_TITLE = re.compile(r'title="([^"]+)"')
_ASSIGNMENT = re.compile(r"^[A-Z_]+=")
_TARGET = re.compile(r"^([\w-]+):", re.MULTILINE)

QUICK = {"anchors", "methods", "models", "recipe", "strategies"}
"""Commands that are run on every page."""

AROUND: dict[str, Any] = {
    "data": "digits",
    "teacher": {"name": "resnet14", "weights": "runs/teacher"},
    "student": "resnet8_w4",
}
"""Completes a fragment of a recipe."""


@dataclass(frozen=True)
class Example:
    """A block of code on a page.

    Attributes:
        file: its title, the name of a file with this content; None without a title.
        long: whether its commands or its Python are only parsed.
        line: of the page on which the code begins, from 1.
    """

    language: str
    code: str
    file: str | None
    long: bool
    line: int


def examples(page: str) -> list[Example]:
    """The blocks of a page that have a language, in order."""
    return [
        Example(
            language=match["language"],
            code=match["code"],
            file=title[1] if (title := _TITLE.search(match["info"])) else None,
            long=match["long"] is not None,
            line=page.count("\n", 0, match.start("code")) + 1,
        )
        for match in _FENCE.finditer(page)
    ]


class Reader:
    """Follows a page from top to bottom, in the working folder.

    Args:
        name: of the page, for messages.
        runs_commands: whether commands that are not quick are run too.
    """

    def __init__(self, name: str, *, runs_commands: bool) -> None:
        self.name = name
        self.runs_commands = runs_commands
        self.namespace: dict[str, Any] = {"__name__": "page"}

    def follow(self, example: Example) -> None:
        """Runs or checks a block."""
        if example.file is not None:
            Path(example.file).write_text(example.code, encoding="utf-8")
        if example.language == "python" and example.file is None and not example.long:
            # Empty lines before it, so that a traceback has the page's own line numbers.
            code = "\n" * (example.line - 1) + example.code
            exec(compile(code, self.name, "exec"), self.namespace)
        elif example.language == "python":
            compile(example.code, self.name, "exec")
        elif example.language == "yaml":
            self._recipe(example)
        elif example.language == "toml":
            tomllib.loads(example.code)
        elif example.language in ("console", "bash"):
            for line in example.code.replace("\\\n", " ").splitlines():
                self._command(line, example)
        else:
            assert example.language == "text", f"{self.name}, line {example.line}: unknown language {example.language}"

    def _recipe(self, example: Example) -> None:
        if example.file is not None and "recipe" in load_yaml(example.code, self.name):
            sweep = read_sweep(example.file)
            plan(sweep, points(sweep.config))
        elif example.file is not None:
            resolve(read(example.file))
        else:
            resolve(parse({**AROUND, **load_yaml(example.code, self.name)}))

    def _command(self, line: str, example: Example) -> None:
        words = shlex.split(line, comments=True)
        while words and _ASSIGNMENT.match(words[0]):
            words.pop(0)
        if not words:
            return
        program, *arguments = words
        if program == "make":
            targets = _TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8"))
            assert set(arguments) <= set(targets), f"{self.name}: {line}"
        elif program == "smskd":
            check(arguments)
            if not example.long and (self.runs_commands or arguments[0] in QUICK):
                run(arguments)
        elif program in ("torchrun", "accelerate"):
            check(arguments[arguments.index("smskd") + 1 :])
        else:
            assert words == ["pip", "install", "."], f"{self.name}, line {example.line}: {line}"


def check(arguments: list[str]) -> None:
    """Parses a command, and resolves its recipe, without training."""
    name, *rest = arguments
    if name.startswith("-"):
        return
    group: Any = typer.main.get_command(app)
    context = group.commands[name].make_context(name, rest)
    if name == "train":
        resolve(read(context.params["recipe"], context.params["overrides"] or []))


def run(arguments: list[str]) -> None:
    """Runs a command, which has to succeed."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, f"smskd {shlex.join(arguments)}: {result.exception!r}\n{result.output}"
