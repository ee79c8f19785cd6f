"""`smskd strategies`."""

import inspect
import json

import typer
from rich.markup import escape
from rich.table import Table

from smskd.cli.printing import console, print_footnote
from smskd.registry import STRATEGIES


def print_strategies(*, as_json: bool) -> None:
    """Prints a table with one line per strategy."""
    summaries = {name: _summary(name) for name in STRATEGIES.names()}
    if as_json:
        typer.echo(json.dumps([{"name": name, "summary": text} for name, text in summaries.items()], indent=2))
        return
    table = Table("strategy", "stages", box=None, pad_edge=False)
    for name, text in summaries.items():
        table.add_row(name, escape(text))
    console.print(table, highlight=False)
    print_footnote("Your own in a recipe: package.module:Name")


def _summary(name: str) -> str:
    """The first paragraph of the docstring."""
    return " ".join((inspect.getdoc(STRATEGIES.find(name)) or "").partition("\n\n")[0].split())
