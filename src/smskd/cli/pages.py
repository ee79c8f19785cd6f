"""`smskd report`: the page of runs, and figures of their charts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from smskd.analysis.compare import Row
from smskd.cli.comparison import compared, tell
from smskd.errors import UserError
from smskd.runs.atomic_files import is_stream
from smskd.runs.reader import Run

if TYPE_CHECKING:
    from smskd.report.figure import Analysis


@dataclass(frozen=True)
class Wanted:
    """What the options of the command ask for.

    Attributes:
        out: the HTML file; None: ``report.html`` in the first folder, of a single run with its charts as SVG.
        baseline, published: as for ``smskd compare``.
        figures: folder of the figures; with it a page is written only to ``out``.
        form: of the figures; None: PDF.
        width: of the figures in centimetres; None: that of a column.
        analysis: whether the runs are analysed. trust: import the Python objects that their recipes name.
    """

    out: Path | None = None
    baseline: str | None = None
    published: Path | None = None
    figures: Path | None = None
    form: Literal["svg", "pdf", "png"] | None = None
    width: float | None = None
    analysis: bool = False
    trust: bool = False


def write_pages(paths: Sequence[Path], wanted: Wanted) -> None:
    """Writes the page of some runs or the figures of their charts, and prints the paths; what is left out is told on
    stderr.

    Args:
        paths: folders of runs, or with runs below them.
        wanted: the options.

    Raises:
        UserError: there is no finished run, an option is wrong, a run cannot be analysed, or a file cannot be written.
    """
    from smskd.report.page import PAGE, Page, write_report, write_run_report

    target = wanted.out or paths[0] / PAGE
    _check(wanted, target)
    runs, rows, remarks = compared(paths, baseline=wanted.baseline, published=wanted.published)
    analyses = _analyses(runs, trust=wanted.trust) if wanted.analysis else {}
    told = list(remarks)
    if wanted.figures is not None:
        _write_figures(runs, rows, analyses, wanted, wanted.figures)
    if wanted.figures is None or wanted.out is not None:
        alone = wanted.out is None and len(runs) == 1 and runs[0].path == paths[0]
        page: Page = (
            write_run_report(paths[0], analyses.get(runs[0].path))
            if alone
            else write_report(runs, target, remarks, rows=rows, analyses=analyses, follow_links=wanted.out is not None)
        )
        if wanted.out is None or not is_stream(wanted.out):  # else the output may be the page itself
            typer.echo(page.path)
        told += page.notes
    tell(told)


def _check(wanted: Wanted, target: Path) -> None:
    if target.is_dir():
        raise UserError(f"--out: {target} is a folder; give the name of an HTML file")
    if wanted.figures is None:
        given = "--format" if wanted.form is not None else "--width" if wanted.width is not None else None
        if given is not None:
            raise UserError(f"{given} is that of figures; give their folder with --figures")
    elif wanted.figures.exists() and not wanted.figures.is_dir():
        raise UserError(f"--figures: {wanted.figures} is a file; give a folder")


def _write_figures(
    runs: Sequence[Run], rows: Sequence[Row], analyses: Mapping[Path, "Analysis"], wanted: Wanted, folder: Path
) -> None:
    """The charts of the comparison, or of a single run."""
    from smskd.report.charts import run_charts
    from smskd.report.comparison_figures import comparison_figures, numbered
    from smskd.report.figures import COLUMN, save_figures

    if len(runs) > 1:
        charts = {figure.name: figure.chart for figure in comparison_figures(numbered(rows))}
    else:
        analysis = analyses.get(runs[0].path)
        charts = run_charts(runs[0]) | {figure.name: figure.chart for figure in (analysis.figures if analysis else ())}
    width = COLUMN if wanted.width is None else wanted.width
    for file in save_figures(charts, folder, wanted.form or "pdf", width):
        typer.echo(file)


def _analyses(runs: Sequence[Run], *, trust: bool) -> dict[Path, "Analysis"]:
    from smskd.cli.printing import SafeConsole
    from smskd.cli.progress import Display
    from smskd.diagnostics.page import page_analysis

    display = Display(SafeConsole())
    with display.shown():
        return {run.path: page_analysis(run, trust=trust, track=display.counted) for run in runs}
