"""The documentation is complete and correct: every name is in it, its examples run, the site can be built."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from typer.testing import CliRunner

import smskd
from smskd.cli.app import app
from smskd.cli.program import UsageError
from smskd.config.base import ComponentConfig
from smskd.config.sweep import SweepConfig
from smskd.errors import UserError
from smskd.recipe import Recipe, parse
from smskd.registry import ANCHORS
from smskd.strategies.resolve import resolve
from tests.support.examples import DOCS, ROOT, Example, Reader, examples

sys.path.append(str(DOCS))
pytest.importorskip("latex2mathml", reason="the packages of the extra 'docs' are not installed")

from generate import commands, diagrams, formulas, methods, recipe_keys, run_diagrams

PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
README = ROOT / "README.md"

_NAME = re.compile(r"`(smskd(?:\.\w+)+)`")
_DIRECTIVE = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)
_LOADED = re.compile(r'<(?:script|img|iframe|source)[^>]* src="(\w+:)?//|<link[^>]* href="(?:\w+:)?//|url\((?:\w+:)?//')


def text(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder from which modules can be imported, which are unloaded afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_every_public_name_is_on_a_page_of_the_api() -> None:
    assert public_names() - shown_names() == set()


def public_names() -> set[str]:
    """Those of the package, and of its two public modules; a name that is in both is that of the module."""
    found = {
        *(f"smskd.models.{name}" for name in smskd.models.__all__),
        *(f"smskd.data.{name}" for name in smskd.data.__all__),
    }
    values = [resolved(name) for name in found]
    return found | {name for name in map("smskd.{}".format, smskd.__all__) if resolved(name) not in values}


def shown_names() -> set[str]:
    return {name for page in PAGES if page.startswith("api/") for name in _DIRECTIVE.findall(text(page))}


def test_every_name_on_a_page_of_the_api_exists() -> None:
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
def test_every_method_has_a_page_with_its_formula(name: str) -> None:
    page = methods.pages()[f"methods/{name}.md"]
    about = methods.describe(name)
    assert about.title in page.splitlines()[0].replace("\\", "")
    for field in ("summary", "paper", "formula", "reads", "shapes", "source", "differences"):
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
    page = text("guide/recipes.md") + text("guide/sweeps.md")
    for word, cls in recipe_keys.SETTINGS.items():
        assert f"<!-- generated: recipe-keys {word} -->" in page, f"there is no table of {word}"
        table = recipe_keys.table(word)
        for field in fields(cls):
            assert f"| `{field.name}` |" in table
            assert len(recipe_keys.description(cls, field.name)) > 3, f"{word}.{field.name} has no description"
    built_in = {ANCHORS.find(name) for name in ANCHORS.builtin_names()}
    assert (settings_in(Recipe) | settings_in(SweepConfig)) - {ComponentConfig} | built_in == set(
        recipe_keys.SETTINGS.values()
    )


def settings_in(cls: type[Any]) -> set[type[Any]]:
    """The dataclass, and those in the types of its fields."""
    found = {cls}
    hints = list(get_type_hints(cls).values())
    while hints:
        hint: Any = hints.pop()
        hints += get_args(hint)
        if isinstance(hint, type) and is_dataclass(hint):
            found |= settings_in(hint)
    return found


def test_every_package_is_on_the_page_of_the_design() -> None:
    page = text("concepts/design.md")
    rooms = {path.stem for path in (ROOT / "src" / "smskd").iterdir() if not path.name.startswith(("_", "."))}
    for room in rooms - {"py"}:
        assert re.search(rf"^\|.*`{room}`.*\|.*\|$", page, re.MULTILINE), f"concepts/design.md does not list {room}"


def test_every_option_of_the_reference_kl_is_explained() -> None:
    page = text("concepts/smskd.md")
    for field in fields(smskd.ReferenceKL):
        assert f"| `{field.name}`" in page


def test_every_name_in_the_text_of_a_concept_exists() -> None:
    for page in PAGES:
        if page.startswith("concepts/"):
            for name in _NAME.findall(text(page)):
                assert resolved(name) is not None, f"{page}: {name}"


@pytest.mark.parametrize("word", list(run_diagrams.DIAGRAMS))
def test_every_name_in_a_diagram_is_in_the_table_below_it(word: str) -> None:
    page = text("concepts/how-a-run-works.md")
    section = page.partition(f"<!-- generated: diagram {word} -->")[2].partition("\n## ")[0]
    listed = {part for name in _NAME.findall(section) for part in name.split(".")}
    found = list(diagrams.names(run_diagrams.DIAGRAMS[word]))
    assert found
    for name in found:
        assert set(name.split(".")) <= listed, f"{name} is not in the table of {word}"


def test_a_diagram_that_does_not_fit_is_refused() -> None:
    box = diagrams.Box("A")
    for diagram, message in (
        (diagrams.Diagram("", ((diagrams.Box("A" * 60),),), ()), "title"),
        (diagrams.Diagram("", ((box,), (box,)), (diagrams.Arrow((0, 0), (1, 0), "b" * 40),)), "label"),
        (diagrams.Diagram("", ((box,), (box,), (box,)), (diagrams.Arrow((0, 0), (2, 0)),)), "next row"),
        (diagrams.Diagram("", ((box, box), (box, box)), (diagrams.Arrow((0, 0), (1, 1)),)), "above each other"),
    ):
        with pytest.raises(ValueError, match=message):
            diagrams.svg(diagram)


def test_a_stage_ends_where_the_page_says() -> None:
    around = {"data": "digits", "teacher": {"name": "resnet14", "weights": "teacher"}, "student": "resnet8"}
    two = resolve(parse({**around, "methods": ["fitnet", "kd"]})).stages
    three = resolve(parse({**around, "methods": ["fitnet", "at", "kd"]})).stages
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
    if page == "tutorial.md":
        check_tutorial()


def check_tutorial() -> None:
    """Teacher and student have learned, and the exported files are there."""
    for name in ("teacher", "student"):
        summary = json.loads(Path("runs", name, "summary.json").read_text(encoding="utf-8"))
        assert summary["student"]["top1_last"] > 50, f"the {name} of the tutorial is hardly better than guessing"
    assert [stage["methods"] for stage in summary["stages"]] == [["fitnet"], ["kd"]]
    for path in ("report.html", "student.onnx", "student/README.md", "student/model.safetensors"):
        assert Path(path).is_file(), path


def check_keys(page: str, namespace: dict[str, Any]) -> None:
    """Every key of a summary and of a line of the metrics, and every file of a run, is on the page."""
    assert namespace["summary"]["stages"]
    for key in {*keys(namespace["summary"]), *namespace["epoch"]}:
        assert f"`{key}`" in page, f"guide/runs.md does not explain {key}"
    for path in Path("runs/plain/seed0").rglob("*"):
        if path.is_file():
            inside = path.relative_to("runs/plain/seed0")
            assert any(f"| `{place}` |" in page for place in (inside, *inside.parents)), (
                f"guide/runs.md does not list {inside}"
            )


def keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {*value, *(key for name, item in value.items() if name != "identity" for key in keys(item))}
    return {key for item in value for key in keys(item)} if isinstance(value, list) else set()


def test_a_wrong_example_is_noticed(folder: Path) -> None:
    page = (
        "```python\nassert False\n```\n"
        "```console\nsmskd train digits/kd.yaml --nonsense\n```\n"
        "```console\nsmskd train digits/kd.yaml teacher.weights=x training.epoch=3\n```\n"
        "```console\nmake coffee\n```\n"
        "```yaml\ntraining: {epochs: many}\n```\n"
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
    for name in public_names():
        assert f'id="{name}"' in api
    for name in methods.method_names():
        assert '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">' in pages[f"methods/{name}.html"]
        assert f'id="smskd.methods.{name}.{methods.METHODS.find(name).__name__}"' in pages[f"methods/{name}.html"]
        assert f'href="{name}.html"' in pages["methods/index.html"]
    assert json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
