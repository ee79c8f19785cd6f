"""`smskd compare` and `smskd report`: the comparison of runs, and their page."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import typer

from smskd.analysis.compare import compare, notes
from smskd.analysis.tables import csv_text, json_rows, markdown, rich_table
from smskd.analysis.visible import one_line
from smskd.cli.printing import console
from smskd.errors import UserError
from smskd.runs.atomic_files import is_stream
from smskd.runs.reader import find_finished


def print_comparison(paths: Sequence[Path], form: Literal["table", "csv", "markdown", "json"]) -> None:
    """Prints the comparison of runs over their seeds; what is left out is told on stderr."""
    runs, remarks = find_finished(paths)
    rows = compare(runs)
    if form == "csv":
        typer.echo(csv_text(rows), nl=False)
    elif form == "markdown":
        typer.echo(markdown(rows), nl=False)
    elif form == "json":
        typer.echo(json.dumps(json_rows(rows), indent=2))
    else:
        console.print(rich_table(rows, width=console.width))
    _tell([*remarks, *notes(rows)])


def write_page(paths: Sequence[Path], out: Path | None) -> None:
    """Writes the page of some runs and prints its path; what is left out is told on stderr.

    Args:
        paths: folders of runs, or with runs below them.
        out: the HTML file; None: ``report.html`` in the first folder, of a single run with its charts as SVG.
    """
    from smskd.report.page import PAGE, write_report, write_run_report

    target = out or paths[0] / PAGE
    if target.is_dir():
        raise UserError(f"--out: {target} is a folder; give the name of an HTML file")
    runs, remarks = find_finished(paths)
    alone = out is None and len(runs) == 1 and runs[0].path == paths[0]
    page = write_run_report(paths[0]) if alone else write_report(runs, target, remarks, follow_links=out is not None)
    if out is None or not is_stream(out):  # else the output may be the page itself
        typer.echo(page.path)
    _tell([*remarks, *page.notes])


def _tell(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        typer.echo(f"smskd: {one_line(sentence)}", err=True)
