"""`smskd strategies`."""

import json

import typer
from rich.markup import escape
from rich.table import Table

from smskd.cli.catalog import entry
from smskd.cli.printing import console, print_footnote
from smskd.registry import STRATEGIES


def print_strategies(*, as_json: bool) -> None:
    """Prints a table with one line per strategy."""
    strategies = [entry("strategies", name) for name in STRATEGIES.names()]
    if as_json:
        typer.echo(json.dumps(strategies, indent=2))
        return
    table = Table("strategy", "stages", box=None, pad_edge=False)
    for strategy in strategies:
        table.add_row(escape(strategy["name"]), escape(strategy["summary"]))
    console.print(table, highlight=False)
    print_footnote("Your own in a recipe: package.module:Name")
