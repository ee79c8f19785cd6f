"""`smskd anchors`."""

import json
from dataclasses import asdict

import typer
from rich.markup import escape
from rich.table import Table

from smskd.cli.printing import console, print_footnote
from smskd.cli.show_terms import print_term
from smskd.methods._describe import TermDescription, describe_term
from smskd.registry import ANCHORS


def print_anchors(*, as_json: bool) -> None:
    """Prints a table with one line per anchor."""
    anchors = [_described(name) for name in ANCHORS.names()]
    if as_json:
        typer.echo(json.dumps([asdict(anchor) for anchor in anchors], indent=2))
        return
    table = Table("anchor", "title", box=None, pad_edge=False)
    for anchor in anchors:
        table.add_row(anchor.name, escape(anchor.title))
    console.print(table, highlight=False)
    print_footnote("One in full: smskd anchors NAME")


def print_anchor(name: str, *, as_json: bool) -> None:
    """Prints one anchor in full.

    Raises:
        UserError: there is no such anchor.
    """
    anchor = _described(name)
    if as_json:
        typer.echo(json.dumps(asdict(anchor), indent=2))
    else:
        print_term(anchor, ("reads", anchor.reads), ("source", anchor.source))


def _described(name: str) -> TermDescription:
    return describe_term(ANCHORS.find(name), name)
