"""The HTML page of one run or several: a single file that opens without a network."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2

from smskd.analysis import format as text
from smskd.analysis.compare import compare, notes
from smskd.analysis.visible import shortened, visible
from smskd.errors import UserError
from smskd.report import theme
from smskd.report.charts import run_charts
from smskd.report.comparison_charts import comparison_chart, curves_chart
from smskd.report.engine import EngineError, library
from smskd.report.isolation import isolated
from smskd.report.marks import Chart, Record, stage_methods
from smskd.report.outcome_chart import OUTCOMES
from smskd.report.sections import comparison_section, run_section
from smskd.report.svg import save_svgs
from smskd.report.visible_strings import visible_strings
from smskd.runs.atomic_files import remove_leftovers, write_output, write_text
from smskd.runs.reader import Run, load_run

PAGE = "report.html"
CHARTS = "charts"

_TITLE = 120
"""Characters of the title of a window."""


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
    runs: Sequence[Run], path: str | Path, remarks: Sequence[str] = (), *, follow_links: bool = True
) -> Page:
    """Writes the page of some runs.

    The page of several runs begins with their comparison over the seeds; each run can be expanded below it. The charts
    are drawn in the browser, by a library within the page.

    Args:
        runs: finished runs, as returned by :func:`smskd.runs.reader.find_runs`.
        path: of the HTML file; missing parent folders are created.
        remarks: sentences that are shown on the page, such as those of :func:`smskd.runs.reader.find_finished`.
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
    page = _html(runs, remarks, script, missing)
    if follow_links:
        write_output(target, page)
    else:
        remove_leftovers(target)
        write_text(target, page)
    return Page(target, () if missing is None else (f"{target}: {missing}",))


def write_run_report(run_folder: str | Path) -> Page:
    """Writes ``charts/*.svg`` and then ``report.html`` into the folder of a finished run: where there is a page, all is
    there.

    Args:
        run_folder: the run's own folder.

    Returns:
        The page; its notes name what could not be written: charts in the page, or the SVG files.

    Raises:
        UserError: as in :func:`smskd.runs.reader.load_run`, or the page cannot be written.
    """
    run = load_run(run_folder)
    missing: tuple[str, ...] = ()
    try:
        save_svgs({f"{name}.svg": chart for name, chart in run_charts(run).items()}, run.path / CHARTS)
    except UserError as error:
        missing = (str(error),)
    page = write_report([run], run.path / PAGE, follow_links=False)
    return Page(page.path, (*page.notes, *missing))


def _html(runs: Sequence[Run], remarks: Sequence[str], script: str | None, missing: str | None) -> str:
    sections = [run_section(f"run{number}", run) for number, run in enumerate(runs)]
    charts = {key: chart for section in sections for key, chart in section["charts"].items()}
    comparison = None
    if len(runs) > 1:
        rows = compare(runs)
        comparison = comparison_section(rows)
        labels = {id(run): row.label for row in rows for run in row.runs}
        for section, run in zip(sections, runs, strict=True):
            section["label"] = labels.get(id(run), run.name)
        remarks = [*remarks, *notes(rows)]
        charts = {"comparison": comparison_chart(rows), "curves": curves_chart(rows), **charts}
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=runs[0].name if comparison is None else comparison["title"],
            comparison=comparison,
            remarks=remarks,
            runs=sections,
            specifications={key: _embedded(chart) for key, chart in charts.items()},
            dark=theme.DARK,
            theme=theme,
            library=None if script is None else script.replace("</script", r"<\/script").replace("<!--", r"<\!--"),
            missing=missing,
        )
    )


def _embedded(chart: Chart) -> Record:
    """The specification of a chart within the page: as wide as its container, and without the title, which the page has
    as a heading."""
    specification: Record = visible_strings(chart.to_dict())
    title = specification.pop("title")
    # The labels of the stages are above the plot, in the space below the title.
    specification["padding"]["top"] = title["offset"]
    specification["width"] = "container"
    specification["autosize"] = {"type": "fit-x", "contains": "padding"}
    return specification


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        finalize=_visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {
        "sort_keys": False,
        "allow_nan": False,
        "separators": (",", ":"),
    }
    environment.filters |= {
        "percent": text.percent,
        "difference": text.difference,
        "duration": text.duration,
        "ratio": text.ratio,
        "methods": stage_methods,
        "isolated": isolated,
        "window_title": lambda words: shortened(words, _TITLE),
        "share": lambda count, total: f"{100.0 * count / total:.1f} %",
    }
    environment.globals["OUTCOMES"] = {key: label for key, (label, _, _) in OUTCOMES.items()}
    return environment


def _visible(value: object) -> object:
    """Every text that the templates show; markup stays as it is."""
    return visible(value) if type(value) is str else value
