"""What there is (methods, models) and what came out (comparison, page)."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import indent
from typing import Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smskd.analysis.compare import compare
from smskd.analysis.format import count
from smskd.analysis.tables import csv_text, json_rows, markdown, rich_table
from smskd.errors import UserError
from smskd.runs.reader import find_runs

console = Console()

WIDE = 120
"""Columns from which on the list of methods has their titles."""


def print_comparison(paths: Sequence[Path], form: Literal["table", "csv", "markdown", "json"]) -> None:
    """The table of runs over their seeds."""
    rows = compare(find_runs(paths))
    if form == "csv":
        typer.echo(csv_text(rows), nl=False)
    elif form == "markdown":
        typer.echo(markdown(rows), nl=False)
    elif form == "json":
        typer.echo(json.dumps(json_rows(rows), indent=2))
    else:
        console.print(rich_table(rows, width=console.width))


def write_page(paths: Sequence[Path], out: Path | None) -> None:
    """The page of some runs."""
    from smskd.report.page import write_report

    runs = find_runs(paths)
    page = out or paths[0] / "report.html"
    if page.is_dir():
        raise UserError(f"--out: {page} is a folder; give the name of an HTML file")
    write_report(runs, page)
    typer.echo(page)


def print_methods(*, as_json: bool) -> None:
    """A line for each method; with its title where there is room."""
    from smskd.cli.method_facts import STUDENT, TEACHERS, compact, method_facts
    from smskd.methods._describe import describe
    from smskd.registry import METHODS

    described = [(describe(name), method_facts(name)) for name in METHODS.names()]
    if as_json:
        typer.echo(json.dumps([asdict(method) | asdict(facts) for method, facts in described], indent=2))
        return
    columns = ["method", "kind", "reads", "learns", "phase", "weight", "golden"]
    titled = console.width >= WIDE
    table = Table(*columns, *(["title"] if titled else []), box=None, pad_edge=False)
    for column in (4, 5, 6):
        table.columns[column].justify = "right"
    for method, facts in described:
        numbers = (facts.phase_epochs or "", f"{method.published_weight:g}", method.golden_cases or "")
        cells = (method.name, method.kind, compact(facts.reads), " ".join(facts.learns), *map(str, numbers))
        table.add_row(*cells, *([escape(method.title)] if titled else []))
    console.print(table, highlight=False)
    _footnote(f"reads, learns: where a {STUDENT} learns from a {TEACHERS[0]}")
    _footnote("phase: epochs before the stage   golden: results of published code it equals")
    _footnote("One in full: smskd methods NAME")


def print_method(name: str, *, as_json: bool) -> None:
    """One method in full."""
    from smskd.cli.method_facts import method_facts
    from smskd.methods._describe import describe

    method, facts = describe(name), method_facts(name)
    if as_json:
        typer.echo(json.dumps(asdict(method) | asdict(facts), indent=2))
        return
    _title(f"{method.name}: {method.title}")
    _lines(
        ("paper", method.paper + (f" (arXiv {method.arxiv})" if method.arxiv else "")),
        ("kind", method.kind),
        ("reads", method.taps),
        ("learns", ", ".join(facts.learns) or "nothing of its own"),
        ("phase", f"{facts.phase_epochs} epochs before the stage" if facts.phase_epochs else "none before the stage"),
        ("golden", _equal_results(method.golden_cases)),
        ("weight", f"{method.published_weight:g}, beside cross-entropy of weight {method.published_ce_weight:g}"),
    )
    if method.formula:
        _title("\nformula")
        console.print(indent(method.formula, "  "), markup=False, highlight=False, soft_wrap=True)
    if method.hyperparameters:
        _title("\nhyper-parameters")
        _lines(*((item.name, f"{item.text} ({item.type}, default {item.default})") for item in method.hyperparameters))
    if method.differences:
        _title("\nnotes")
        _lines(*(("-", difference) for difference in method.differences))


def _equal_results(count: int) -> str:
    return f"equals {count} result{'s' if count > 1 else ''} of published code" if count else "none"


def print_recipes() -> None:
    """The names of the recipes that come with the package."""
    from smskd.recipe.shipped import names

    for name in names():
        typer.echo(name)


def print_recipe(path: str, overrides: Sequence[str]) -> None:
    """A recipe with every default filled in."""
    from smskd.recipe import read, to_yaml
    from smskd.strategies.resolve import resolve

    typer.echo(to_yaml(resolve(read(path, overrides)).as_mapping()), nl=False)


def print_models(*, as_json: bool) -> None:
    """A line for each model."""
    from smskd.models import names

    facts = [_model_facts(name) for name in names()]
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    table = Table("model", "params", "MACs", "what it is", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in (1, 2):
        table.columns[column].justify = "right"
    for fact in facts:
        table.add_row(fact["name"], count(fact["parameters"]), count(fact["macs"]), fact["description"])
    console.print(table, highlight=False)
    _footnote("MACs: multiply-accumulates for a picture of 3 x 32 x 32; with 100 classes")
    _footnote("One in full: smskd models NAME    Your own in a recipe: package.module:factory")


def print_model(name: str, *, as_json: bool) -> None:
    """One model in full."""
    fact = _model_facts(name)
    if as_json:
        typer.echo(json.dumps(fact, indent=2))
        return
    _title(f"{name}: {fact['description']}" if fact["description"] else name)
    _lines(
        ("parameters", f"{fact['parameters']:,} with {fact['classes']} classes"),
        ("MACs", f"{fact['macs']:,} for a picture of {_sizes(fact['image_shape'])}"),
    )
    _title("\nfeatures of that picture")
    _lines(*((feature, _sizes(shape)) for feature, shape in fact["features"].items()))


def _model_facts(name: str) -> dict[str, Any]:
    from smskd.models import create, describe, macs, parameters
    from smskd.models.zoo.catalog import CATALOG

    model, shape = create(name), (3, 32, 32)
    layout = describe(model, shape)
    return {
        "name": name,
        "description": CATALOG[name].description if name in CATALOG else "",
        "classes": layout.classes,
        "image_shape": list(shape),
        "parameters": parameters(model.wrapped),
        "macs": macs(model.wrapped, shape),
        "features": {feature: list(size) for feature, size in layout.features.items()},
    }


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _title(text: str) -> None:
    console.print(text, style="bold", markup=False, highlight=False)


def _footnote(text: str) -> None:
    console.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)


def _lines(*pairs: tuple[str, str]) -> None:
    """Labels, and beside each a text that wraps in a column of its own."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for label, text in pairs:
        table.add_row(f"  {label}", escape(text))
    console.print(table, highlight=False)
