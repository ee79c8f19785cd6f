"""`smskd methods`."""

import json
from dataclasses import asdict

import typer
from rich.markup import escape
from rich.table import Table

from smskd.cli.method_facts import STUDENT, TEACHERS, compact, method_facts
from smskd.cli.printing import console, print_footnote
from smskd.cli.show_terms import print_term
from smskd.methods._describe import describe
from smskd.registry import METHODS

WIDE = 120
"""Width in characters from which the list has the titles of the methods."""


def print_methods(*, as_json: bool) -> None:
    """Prints a table with one line per method."""
    described = [(describe(name), method_facts(name)) for name in METHODS.names()]
    if as_json:
        typer.echo(json.dumps([asdict(method) | asdict(facts) for method, facts in described], indent=2))
        return
    columns = ["method", "kind", "reads", "trains", "phase", "weight", "golden"]
    titled = console.width >= WIDE
    table = Table(*columns, *(["title"] if titled else []), box=None, pad_edge=False)
    for column in (4, 5, 6):
        table.columns[column].justify = "right"
    for method, facts in described:
        numbers = (facts.pretraining_epochs or "", f"{method.published_weight:g}", method.golden_cases or "")
        cells = (method.name, method.kind, compact(facts.taps), " ".join(facts.trains), *map(str, numbers))
        table.add_row(*cells, *([escape(method.title)] if titled else []))
    console.print(table, highlight=False)
    print_footnote(f"reads, trains: for a {STUDENT} that learns from a {TEACHERS[0]}")
    print_footnote("phase: epochs of pretraining   golden: tests against published code")
    print_footnote("One in full: smskd methods NAME")


def print_method(name: str, *, as_json: bool) -> None:
    """Prints one method in full.

    Raises:
        UserError: there is no such method.
    """
    method, facts = describe(name), method_facts(name)
    if as_json:
        typer.echo(json.dumps(asdict(method) | asdict(facts), indent=2))
        return
    epochs = facts.pretraining_epochs
    print_term(
        method,
        ("kind", method.kind),
        ("reads", method.reads),
        ("trains", ", ".join(facts.trains) or "no layers of its own"),
        ("pretraining", f"{epochs} epochs before the stage" if epochs else "none"),
        ("golden", _golden_tests(method.golden_cases)),
        ("weight", f"{method.published_weight:g}, beside cross-entropy with weight {method.published_ce_weight:g}"),
    )


def _golden_tests(count: int) -> str:
    return f"equals published code in {count} test{'s' if count > 1 else ''}" if count else "none"
