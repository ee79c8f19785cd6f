"""`smskd compare` and `smskd report`: the comparison of runs, and their page."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import typer

from smskd.analysis.compare import Row, compare, notes, with_published
from smskd.analysis.latex import latex
from smskd.analysis.paired import with_differences
from smskd.analysis.published import read_published
from smskd.analysis.tables import csv_text, json_rows, markdown, rich_table
from smskd.analysis.visible import one_line
from smskd.cli.printing import console
from smskd.errors import UserError
from smskd.runs.atomic_files import is_stream
from smskd.runs.reader import find_finished

Form = Literal["table", "csv", "markdown", "json", "latex"]


def wanted_form(*, csv: bool, markdown: bool, latex: bool, json: bool) -> Form:
    """The form that the options of the command ask for.

    Raises:
        UserError: they ask for several.
    """
    wanted: dict[Form, bool] = {"csv": csv, "markdown": markdown, "latex": latex, "json": json}
    forms = [form for form, given in wanted.items() if given]
    if len(forms) > 1:
        raise UserError(f"give one of {', '.join(f'--{form}' for form in wanted)}")
    return forms[0] if forms else "table"


def print_comparison(
    paths: Sequence[Path], form: Form, *, baseline: str | None = None, published: Path | None = None
) -> None:
    """Prints the comparison of runs over their seeds; what is left out is told on stderr.

    Args:
        paths: folders of runs, or with runs below them.
        form: of the output.
        baseline: label of the recipe from which the others' paired differences are taken; None: there are none.
        published: a CSV file of published accuracies.

    Raises:
        UserError: nothing can be compared, no recipe is called as the baseline, or the file cannot be read.
    """
    figures = None if published is None else read_published(published)
    runs, remarks = find_finished(paths)
    rows = compare(runs)
    if figures is not None:
        rows = with_published(rows, figures)
        if not any(row.published for row in rows):
            remarks.append(f"{published} has no accuracy of these data, models and methods")
    if baseline is not None:
        rows, unpaired = with_differences(rows, baseline)
        remarks += unpaired
    _print(rows, form)
    _tell([*remarks, *notes(rows)])


def _print(rows: Sequence[Row], form: Form) -> None:
    if form == "table":
        console.print(rich_table(rows, width=console.width))
    elif form == "json":
        typer.echo(json.dumps(json_rows(rows), indent=2))
    else:
        written = {"csv": csv_text, "markdown": markdown, "latex": latex}[form]
        typer.echo(written(rows), nl=False)


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
