"""`smskd compare` and `smskd report`: the comparison of runs, and their page."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import typer

from smskd.analysis.compare import compare
from smskd.analysis.tables import csv_text, json_rows, markdown, rich_table
from smskd.cli.printing import console
from smskd.errors import UserError
from smskd.runs.reader import find_runs


def print_comparison(paths: Sequence[Path], form: Literal["table", "csv", "markdown", "json"]) -> None:
    """Prints the comparison of runs over their seeds."""
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
    """Writes the page of some runs and prints its path.

    Args:
        paths: folders of runs, or with runs below them.
        out: the HTML file; None: ``report.html`` in the first folder.
    """
    from smskd.report.page import PAGE, write_report

    runs = find_runs(paths)
    page = out or paths[0] / PAGE
    if page.is_dir():
        raise UserError(f"--out: {page} is a folder; give the name of an HTML file")
    write_report(runs, page)
    typer.echo(page)
