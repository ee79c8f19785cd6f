"""`smskd anchors`."""

import json

import typer
from rich.markup import escape
from rich.table import Table

from smskd.cli.catalog import entry
from smskd.cli.printing import console, print_footnote
from smskd.cli.show_terms import print_term
from smskd.registry import ANCHORS


def print_anchors(*, as_json: bool) -> None:
    """Prints a table with one line per anchor."""
    anchors = [entry("anchors", name) for name in ANCHORS.names()]
    if as_json:
        typer.echo(json.dumps(anchors, indent=2))
        return
    table = Table("anchor", "title", box=None, pad_edge=False)
    for anchor in anchors:
        table.add_row(escape(anchor["name"]), escape(anchor["title"]))
    console.print(table, highlight=False)
    print_footnote("One in full: smskd anchors NAME")


def print_anchor(name: str, *, as_json: bool) -> None:
    """Prints one anchor in full.

    Raises:
        UserError: there is no such anchor.
    """
    anchor = entry("anchors", name)
    if as_json:
        typer.echo(json.dumps(anchor, indent=2))
    else:
        print_term(anchor, ("reads", anchor["reads"]), ("source", anchor["source"]))
