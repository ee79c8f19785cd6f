"""The documentation is whole, true and buildable: every name is in it, its examples run, the site is built."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

import smskd
from smskd.cli.app import UsageError, app
from smskd.errors import UserError
from smskd.recipe.spec import ComponentSpec, Recipe
from tests.support.examples import DOCS, ROOT, Example, Reader, examples

sys.path.append(str(DOCS))
pytest.importorskip("latex2mathml", reason="the packages of the extra 'docs' are not installed")

from generate import commands, formulas, methods, recipe_keys

PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
README = ROOT / "README.md"

_DIRECTIVE = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)
_LOADED = re.compile(r'<(?:script|img|iframe|source)[^>]* src="(\w+:)?//|<link[^>]* href="(?:\w+:)?//|url\((?:\w+:)?//')


def text(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder from which modules can be imported; they are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_every_public_name_is_on_a_page_of_the_api() -> None:
    shown = {name for page in PAGES if page.startswith("api/") for name in _DIRECTIVE.findall(text(page))}
    public = {
        *(f"smskd.{name}" for name in smskd.__all__),
        *(f"smskd.models.{name}" for name in smskd.models.__all__),
        *(f"smskd.data.{name}" for name in smskd.data.__all__),
    }
    assert public - shown == set()


def test_no_page_shows_a_name_that_there_is_not() -> None:
    for page in PAGES:
        for name in _DIRECTIVE.findall(text(page)):
            assert resolved(name) is not None, f"{page}: {name}"


def resolved(name: str) -> Any:
    found: Any = smskd
    for part in name.split(".")[1:]:
        __import__(found.__name__) if hasattr(found, "__path__") else None
        try:
            found = getattr(found, part)
        except AttributeError:
            found = __import__(f"{found.__name__}.{part}", fromlist=["_"])
    return found


@pytest.mark.parametrize("name", methods.method_names())
def test_every_method_has_a_page_whose_formula_can_be_drawn(name: str) -> None:
    page = methods.pages()[f"methods/{name}.md"]
    about = methods.describe(name)
    assert about.title in page.splitlines()[0].replace("\\", "")
    for field in ("summary", "paper", "formula", "taps", "shapes", "source", "differences"):
        assert getattr(about, field), f"the docstring of {name} has no {field}"
    for item in about.hyperparameters:
        assert item.text, f"the docstring of {name} does not say what {item.name} does"
    statements = formulas.statements(about.formula)
    assert page.count("$$") == 2 * len(statements)
    for statement in statements:
        assert formulas.mathml(statement, block=True).startswith("<math")
    assert f"[`{name}`]({name}.md)" in methods.table()
    reader = Reader(name, runs_commands=False)
    for example in examples(page):
        reader.follow(example)


def test_every_command_has_a_section_with_its_reference_and_an_example() -> None:
    page = text("guide/command-line.md")
    sections = {part.partition("\n")[0]: part for part in page.split("\n## ")[1:]}
    for name in commands.commands():
        section = sections.get(f"`smskd {name}`")
        assert section is not None, f"guide/command-line.md has no section for smskd {name}"
        assert f"<!-- generated: command {name} -->" in section
        assert re.search(rf"^(?:\w+=\S+ )?smskd {name}\b", section, re.MULTILINE), f"no example of smskd {name}"
    assert set(sections) - {f"`smskd {name}`" for name in commands.commands()} == {"Completion"}


@pytest.mark.parametrize("name", list(commands.commands()))
def test_the_reference_of_a_command_has_every_flag_of_its_help(name: str) -> None:
    environment = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    told = CliRunner().invoke(app, [*name.split(), "--help"], env=environment).output
    flags = set(re.findall(r"^[^\w-]*(--[a-z-]+)", told, re.MULTILINE)) - {"--help"}
    reference = commands.reference(name)
    assert flags == set(re.findall(r"`(--[a-z-]+)`", reference))


def test_every_key_of_a_recipe_is_in_a_table_of_the_page() -> None:
    page = text("guide/recipes.md")
    for word, record in recipe_keys.RECORDS.items():
        assert f"<!-- generated: recipe-keys {word} -->" in page, f"guide/recipes.md has no table for {word}"
        table = recipe_keys.table(word)
        for key in record.model_fields:
            assert f"| `{key}` |" in table
            assert len(recipe_keys.description(record, key)) > 3, f"nothing says what {word}.{key} is for"
    assert records(Recipe) - {ComponentSpec} == set(recipe_keys.RECORDS.values())


def records(record: type[BaseModel]) -> set[type[BaseModel]]:
    """The record and those that its fields are made of."""
    found = {record}
    for field in record.model_fields.values():
        hints = [field.annotation]
        while hints:
            hint: Any = hints.pop()
            hints += get_args(hint)
            if isinstance(hint, type) and issubclass(hint, BaseModel):
                found |= records(hint)
    return found


def test_every_room_of_the_package_is_on_the_page_of_the_design() -> None:
    page = text("concepts/design.md")
    rooms = {path.stem for path in (ROOT / "src" / "smskd").iterdir() if not path.name.startswith(("_", "."))}
    for room in rooms - {"py", "recipes"}:
        assert re.search(rf"^\|.*`{room}`.*\|.*\|$", page, re.MULTILINE), f"concepts/design.md does not show {room}"


def test_every_option_of_the_anchor_is_explained() -> None:
    page, recipes = text("concepts/smskd.md"), text("guide/recipes.md")
    for field in fields(smskd.ReferenceKL):
        assert f"| `{field.name}`" in page
        assert f"{field.name}: " in recipes


def test_a_stage_ends_where_the_page_says() -> None:
    from smskd.recipe import parse
    from smskd.strategies.resolve import plan

    around = {"data": "digits", "teacher": {"model": "resnet14", "weights": "teacher"}, "student": "resnet8"}
    two = plan(parse({**around, "methods": ["fitnet", "kd"]}))
    three = plan(parse({**around, "methods": ["fitnet", "at", "kd"]}))
    assert [stage.last for stage in two] == [150, 240]
    assert [stage.last for stage in three] == [150, 180, 240]


@pytest.mark.parametrize("page", [*PAGES, "README.md"])
def test_the_examples_of_a_page_run(page: str, folder: Path) -> None:
    path = README if page == "README.md" else DOCS / page
    blocks: list[Example] = examples(path.read_text(encoding="utf-8"))
    reader = Reader(page, runs_commands=page != "README.md")
    for block in blocks:
        reader.follow(block)
    if page == "guide/runs.md":
        check_keys(path.read_text(encoding="utf-8"), reader.namespace)


def check_keys(page: str, namespace: dict[str, Any]) -> None:
    """Every key of a summary, of a line of the metrics and every file of a run is on the page."""
    assert namespace["summary"]["stages"]
    for key in {*keys(namespace["summary"]), *namespace["epoch"]}:
        assert f"`{key}`" in page, f"guide/runs.md does not say what {key} is"
    for path in Path("runs/plain/seed0").rglob("*"):
        if path.is_file():
            inside = path.relative_to("runs/plain/seed0")
            assert any(f"| `{place}` |" in page for place in (inside, *inside.parents)), f"what is {inside}?"


def keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {*value, *(key for item in value.values() for key in keys(item))}
    return {key for item in value for key in keys(item)} if isinstance(value, list) else set()


def test_a_wrong_example_is_noticed(folder: Path) -> None:
    page = (
        "```python\nassert False\n```\n"
        "```console\nsmskd train digits/kd.yaml --nonsense\n```\n"
        "```console\nsmskd train digits/kd.yaml teacher.weights=x epoch=3\n```\n"
        "```console\nmake coffee\n```\n"
        "```yaml\nepochs: many\n```\n"
    )
    blocks = examples(page)
    assert [block.line for block in blocks] == [2, 5, 8, 11, 14]
    mistakes = (AssertionError, UsageError, UserError, AssertionError, UserError)
    for block, mistake in zip(blocks, mistakes, strict=True):
        with pytest.raises(mistake):
            Reader("page", runs_commands=False).follow(block)
    (long,) = examples("text\n\n<!-- long: only parsed -->\n```console\nsmskd demo\n```\n")
    assert long.long
    assert not blocks[1].long


def test_the_site_is_built_without_warnings_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the packages of the extra 'docs' are not installed")
    site = tmp_path / "site"
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert built.returncode == 0, built.stderr
    pages = {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    for name, page in pages.items():
        assert not _LOADED.search(page), f"{name} loads something from the network"
        assert "arithmatex" not in page, f"{name} has a formula that was not drawn"
        assert "<!-- generated" not in page
        assert not re.search(r":(?:func|class|meth|mod|attr):<code>", page), f"{name} shows a role"
    api = "".join(page for name, page in pages.items() if name.startswith("api/"))
    for module, names in (("smskd", smskd.__all__), ("smskd.models", smskd.models.__all__)):
        for name in names:
            assert f'id="{module}.{name}"' in api
    for name in methods.method_names():
        assert '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">' in pages[f"methods/{name}.html"]
        assert f'id="smskd.methods.{name}.{methods.METHODS.find(name).__name__}"' in pages[f"methods/{name}.html"]
        assert f'href="{name}.html"' in pages["methods/index.html"]
    assert json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
