"""`smskd compare`: the comparison of runs."""

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
from smskd.runs.reader import Run, find_finished

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
    paths: Sequence[Path],
    form: Form,
    *,
    baseline: str | None = None,
    published: Path | None = None,
    html: Path | None = None,
) -> None:
    """Prints the comparison of runs over their seeds; what is left out is told on stderr.

    Args:
        paths: folders of runs, or with runs below them.
        form: of the output.
        baseline: label of the recipe from which the others' paired differences are taken; None: there are none.
        published: a CSV file of published accuracies.
        html: of the page that is written as well; None: none is.

    Raises:
        UserError: nothing can be compared, no recipe is called as the baseline, or a file cannot be read or written.
    """
    if html is not None and html.is_dir():
        raise UserError(f"--html: {html} is a folder; give the name of an HTML file")
    runs, rows, remarks = compared(paths, baseline=baseline, published=published)
    written: Sequence[str] = ()
    if html is not None:
        from smskd.report.page import write_report

        written = write_report(runs, html, remarks, rows=rows).notes
    if html is None or not is_stream(html):  # else the output may be the page itself
        _print(rows, form)
    tell([*remarks, *notes(rows), *written])


def compared(
    paths: Sequence[Path], *, baseline: str | None = None, published: Path | None = None
) -> tuple[list[Run], list[Row], list[str]]:
    """The finished runs, their comparison, and sentences on what is left out.

    Args:
        paths: folders of runs, or with runs below them.
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
    return runs, rows, remarks


def tell(sentences: Iterable[str]) -> None:
    """Prints sentences on stderr."""
    for sentence in sentences:
        typer.echo(f"smskd: {one_line(sentence)}", err=True)


def _print(rows: Sequence[Row], form: Form) -> None:
    if form == "table":
        console.print(rich_table(rows, width=console.width))
    elif form == "json":
        typer.echo(json.dumps(json_rows(rows), indent=2))
    else:
        written = {"csv": csv_text, "markdown": markdown, "latex": latex}[form]
        typer.echo(written(rows), nl=False)
