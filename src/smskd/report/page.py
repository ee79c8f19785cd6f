"""The HTML page of one run or several: a single file that opens without a network."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from smskd.analysis.compare import Row, compare, notes
from smskd.errors import UserError
from smskd.report import theme
from smskd.report.charts import run_charts
from smskd.report.comparison_figures import comparison_figures, numbered
from smskd.report.engine import EngineError, library
from smskd.report.environment import embedded, environment
from smskd.report.figure import Analysis
from smskd.report.marks import Chart, Record
from smskd.report.sections import comparison_section, run_section
from smskd.report.svg import save_svgs
from smskd.runs.atomic_files import remove_leftovers, write_output, write_text
from smskd.runs.reader import Run, load_run

PAGE = "report.html"
CHARTS = "charts"

MOST_RUNS = 24
"""That a page has in full; of more it lists name, seed and accuracy."""


@dataclass(frozen=True)
class Page:
    """A page that has been written.

    Attributes:
        path: of the HTML file.
        notes: a sentence for everything that is missing: charts that could not be drawn.
    """

    path: Path
    notes: tuple[str, ...] = ()


def write_report(
    runs: Sequence[Run],
    path: str | Path,
    remarks: Sequence[str] = (),
    *,
    rows: Sequence[Row] | None = None,
    analyses: Mapping[Path, Analysis] | None = None,
    follow_links: bool = True,
) -> Page:
    """Writes the page of some runs.

    The page of several runs begins with their comparison over the seeds; each run can be expanded below it. The charts
    are drawn in the browser, by a library within the page.

    Args:
        runs: finished runs, as returned by :func:`smskd.runs.reader.find_runs`.
        path: of the HTML file; missing parent folders are created.
        remarks: sentences that are shown on the page, such as those of :func:`smskd.runs.reader.find_finished`.
        rows: the comparison of the runs, with differences and published accuracies; None: it is made, without these.
        analyses: of the runs, by their folders; None: there are none.
        follow_links: whether a link is followed, and a device or a pipe written to, instead of being replaced. In the
            folder of a run, which may be another person's, links should not be followed.

    Returns:
        The page. Where the chart engine fails, it is written without charts, and a note has the reason.

    Raises:
        UserError: there are no runs, or the page cannot be written.
    """
    if not runs:
        raise UserError("no runs for the page; give the folder of a run, or one with runs below it")
    target = Path(path)
    try:
        script, missing = library(), None
    except EngineError as error:
        script, missing = None, f"The page has no charts ({error}). Write it again with: smskd report"
    page = _html(runs, target, remarks, rows, analyses or {}, script, missing)
    if follow_links:
        write_output(target, page)
    else:
        remove_leftovers(target)
        write_text(target, page)
    return Page(target, () if missing is None else (f"{target}: {missing}",))


def write_run_report(run_folder: str | Path, analysis: Analysis | None = None) -> Page:
    """Writes ``charts/*.svg`` and then ``report.html`` into the folder of a finished run: where there is a page, all is
    there.

    Args:
        run_folder: the run's own folder.
        analysis: that the page shows as well; its charts are among the SVG files.

    Returns:
        The page; its notes name what could not be written: charts in the page, or the SVG files.

    Raises:
        UserError: as in :func:`smskd.runs.reader.load_run`, or the page cannot be written.
    """
    run = load_run(run_folder)
    missing: tuple[str, ...] = ()
    charts = run_charts(run) | {figure.name: figure.chart for figure in (analysis.figures if analysis else ())}
    try:
        save_svgs({f"{name}.svg": chart for name, chart in charts.items()}, run.path / CHARTS)
    except UserError as error:
        missing = (str(error),)
    analyses = {} if analysis is None else {run.path: analysis}
    page = write_report([run], run.path / PAGE, analyses=analyses, follow_links=False)
    return Page(page.path, (*page.notes, *missing))


def _html(
    runs: Sequence[Run],
    target: Path,
    remarks: Sequence[str],
    rows: Sequence[Row] | None,
    analyses: Mapping[Path, Analysis],
    script: str | None,
    missing: str | None,
) -> str:
    full = runs if len(runs) <= MOST_RUNS else ()
    sections = [run_section(f"run{number}", run, analyses.get(run.path)) for number, run in enumerate(full)]
    charts: dict[str, Chart] = {}
    comparison, listed = None, []
    if len(runs) > 1:
        rows = compare(runs) if rows is None else rows
        rows = numbered(rows)
        figures = comparison_figures(rows)
        comparison = {**comparison_section(rows), "figures": figures, "count": len(runs)}
        labels = {id(run): row.label for row in rows for run in row.runs}
        for section, run in zip(sections, full, strict=False):
            section["label"] = labels.get(id(run), run.name)
        listed = [] if full else [_listed(run, labels.get(id(run), run.name), target) for run in runs]
        remarks = [*remarks, *notes(rows)]
        charts = {figure.name: figure.chart for figure in figures}
    charts |= {key: chart for section in sections for key, chart in section["charts"].items()}
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            title=runs[0].name if comparison is None else comparison["title"],
            comparison=comparison,
            remarks=remarks,
            runs=sections,
            listed=listed,
            specifications={key: embedded(chart) for key, chart in charts.items()},
            dark=theme.DARK,
            theme=theme,
            library=None if script is None else script.replace("</script", r"<\/script").replace("<!--", r"<\!--"),
            missing=missing,
        )
    )


def _listed(run: Run, label: str, target: Path) -> Record:
    """A run in the list of many, with the address of its own page where that lies below the folder of this one."""
    page = run.path / PAGE
    place = os.path.relpath(page, target.parent)
    reachable = page.is_file() and not place.startswith(os.pardir)
    return {
        "label": label,
        "seed": run.seed,
        "top1": run.summary["student"]["top1_last"],
        "address": quote(Path(place).as_posix()) if reachable else None,
    }
