"""What there is (methods, models) and what came out (comparison, page)."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from smskd.analysis.compare import compare
from smskd.analysis.runs import find_runs
from smskd.analysis.tables import csv_text, json_rows, markdown, rich_table
from smskd.errors import UserError

console = Console()


def print_comparison(paths: Sequence[Path], form: Literal["table", "csv", "markdown", "json"]) -> None:
    """The table of runs over their seeds."""
    rows = compare(find_runs(paths))
    if form == "csv":
        typer.echo(csv_text(rows), nl=False)
    elif form == "markdown":
        typer.echo(markdown(rows))
    elif form == "json":
        typer.echo(json.dumps(json_rows(rows), indent=2))
    else:
        console.print(rich_table(rows))


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
    """A line for each method."""
    from smskd.methods.describe import describe
    from smskd.methods.discovery import names

    described = [describe(name) for name in names()]
    if as_json:
        typer.echo(json.dumps([asdict(method) for method in described], indent=2))
        return
    table = Table("method", "title", "kind", "reads", "weight", box=None, pad_edge=False)
    for method in described:
        table.add_row(method.name, method.title, method.kind, method.taps, f"{method.published_weight:g}")
    console.print(table)
    console.print("\n[dim]smskd methods NAME shows one in full.")


def print_method(name: str, *, as_json: bool) -> None:
    """One method in full."""
    from smskd.methods.describe import describe

    method = describe(name)
    if as_json:
        typer.echo(json.dumps(asdict(method), indent=2))
        return
    _paragraph("", f"{method.name}: {method.title}")
    _paragraph("paper", method.paper + (f" (arXiv {method.arxiv})" if method.arxiv else ""))
    _paragraph("formula", method.formula)
    _paragraph("kind", method.kind)
    _paragraph("reads", method.taps)
    _paragraph(
        "weights",
        f"{method.published_weight:g}, beside cross-entropy of weight {method.published_class_weight:g}",
    )
    for item in method.hyperparameters:
        _paragraph(item.name, f"{item.text} ({item.type}, default {item.default})")
    for difference in method.differences:
        _paragraph("note", difference)


def print_models(*, as_json: bool) -> None:
    """A line for each model."""
    from smskd.models import names

    facts = [_model_facts(name) for name in names()]
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    table = Table("model", "parameters", "MACs at 32x32", "what it is", box=None, pad_edge=False)
    for column in (1, 2):
        table.columns[column].justify = "right"
    for fact in facts:
        table.add_row(fact["name"], f"{fact['parameters']:,}", f"{fact['macs']:,}", fact["description"])
    console.print(table)
    console.print("\n[dim]smskd models NAME shows one in full. Your own: package.module:factory in a recipe.")


def print_model(name: str, *, as_json: bool) -> None:
    """One model in full."""
    fact = _model_facts(name)
    if as_json:
        typer.echo(json.dumps(fact, indent=2))
        return
    for key in ("name", "description", "classes"):
        _paragraph(key, str(fact[key]))
    _paragraph("parameters", f"{fact['parameters']:,}")
    _paragraph("MACs", f"{fact['macs']:,} for a picture of {' x '.join(map(str, fact['image_shape']))}")
    for feature, shape in fact["features"].items():
        _paragraph(feature, " x ".join(map(str, shape)))


def _model_facts(name: str) -> dict[str, Any]:
    from smskd.models import create, describe, macs, parameters
    from smskd.models.catalog import CATALOG

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


def _paragraph(label: str, text: str) -> None:
    if not label:
        console.print(f"[bold]{text}", highlight=False)
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(width=18, style="dim")
    table.add_column()
    table.add_row(label, text)
    console.print(table, highlight=False)
