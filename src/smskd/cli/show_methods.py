"""`smskd methods`."""

import json
import re
from collections.abc import Sequence

import typer
from rich.markup import escape
from rich.table import Table

from smskd.cli.catalog import STUDENT, TEACHERS, entry
from smskd.cli.printing import console, print_footnote
from smskd.cli.show_terms import print_term
from smskd.registry import METHODS

WIDE = 120
"""Width in characters from which the list has the titles of the methods."""


def print_methods(*, as_json: bool) -> None:
    """Prints a table with one line per method."""
    methods = [entry("methods", name) for name in METHODS.names()]
    if as_json:
        typer.echo(json.dumps(methods, indent=2))
        return
    columns = ["method", "kind", "reads", "trains", "phase", "weight", "golden"]
    titled = console.width >= WIDE
    table = Table(*columns, *(["title"] if titled else []), box=None, pad_edge=False)
    for column in (4, 5, 6):
        table.columns[column].justify = "right"
    for method in methods:
        numbers = (
            method["pretraining_epochs"] or "",
            f"{method['published_weight']:g}",
            method["golden_cases"] or "",
        )
        cells = (method["name"], method["kind"], compact(method["taps"]), " ".join(method["trains"]))
        titles = [method["title"]] if titled else []
        table.add_row(*map(escape, (*cells, *map(str, numbers), *titles)))
    console.print(table, highlight=False)
    print_footnote(f"reads, trains: for a {STUDENT} that learns from a {TEACHERS[0]}")
    print_footnote("phase: epochs of pretraining   golden: tests against published code")
    print_footnote("One in full: smskd methods NAME")


def print_method(name: str, *, as_json: bool) -> None:
    """Prints one method in full.

    Raises:
        UserError: there is no such method.
    """
    method = entry("methods", name)
    if as_json:
        typer.echo(json.dumps(method, indent=2))
        return
    epochs = method["pretraining_epochs"]
    weights = f"{method['published_weight']:g}, beside cross-entropy with weight {method['published_ce_weight']:g}"
    print_term(
        method,
        ("kind", method["kind"]),
        ("reads", method["reads"]),
        ("trains", ", ".join(method["trains"]) or "no layers of its own"),
        ("pretraining", f"{epochs} epochs before the stage" if epochs else "none"),
        ("golden", _golden_tests(method["golden_cases"])),
        ("weight", weights),
    )


def compact(taps: Sequence[str]) -> str:
    """The names of taps with consecutive numbers contracted: ``stage1 stage2 stage3`` gives ``stage1-3``."""
    names: list[str] = []
    for tap in taps:
        family = re.fullmatch(r"(\D+)(\d+)(\D*)", tap)
        last = re.fullmatch(r"(\D+)(\d+)(?:-(\d+))?(\D*)", names[-1]) if names else None
        if family and last and (family[1], family[3]) == (last[1], last[4]):
            names[-1] = f"{last[1]}{last[2]}-{family[2]}{last[4]}"
        else:
            names.append(tap)
    return " ".join(names)


def _golden_tests(count: int) -> str:
    return f"equals published code in {count} test{'s' if count > 1 else ''}" if count else "none"
