"""The HTML page of one run or several: a single file that opens without a network."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import jinja2
import vl_convert

from smskd.analysis import format as text
from smskd.analysis.compare import compare
from smskd.errors import UserError
from smskd.report import theme
from smskd.report.charts import run_charts
from smskd.report.comparison_charts import comparison_chart, curves_chart
from smskd.report.marks import Chart, Record, stage_methods
from smskd.report.outcome_chart import OUTCOMES
from smskd.report.sections import comparison_section, run_section
from smskd.report.svg import save_svg, vega_lite_version
from smskd.runs.atomic_files import write_text
from smskd.runs.reader import Run, load_run

PAGE = "report.html"
CHARTS = "charts"


def write_report(runs: Sequence[Run], path: str | Path) -> Path:
    """Writes the page of some runs.

    The page of several runs begins with their comparison over the seeds; each run can be expanded below it.

    Args:
        runs: finished runs, as returned by :func:`smskd.runs.reader.find_runs`.
        path: of the HTML file; missing parent folders are created.

    Returns:
        ``path``.

    Raises:
        UserError: there are no runs, or two runs of the same recipe have the same seed.
    """
    if not runs:
        raise UserError("no runs for the page; give the folder of a run, or one with runs below it")
    target = Path(path)
    write_text(target, _html(runs))
    return target


def write_run_report(run_folder: str | Path) -> Path:
    """Writes ``report.html`` and ``charts/*.svg`` into the folder of a finished run.

    Args:
        run_folder: the run's own folder.

    Returns:
        The path of the page.

    Raises:
        UserError: as in :func:`smskd.runs.reader.load_run`.
    """
    run = load_run(run_folder)
    for name, chart in run_charts(run).items():
        save_svg(chart, run.path / CHARTS / f"{name}.svg")
    return write_report([run], run.path / PAGE)


def _html(runs: Sequence[Run]) -> str:
    sections = [run_section(f"run{number}", run) for number, run in enumerate(runs)]
    charts = {key: chart for section in sections for key, chart in section["charts"].items()}
    comparison = None
    if len(runs) > 1:
        rows = compare(runs)
        comparison = comparison_section(rows)
        charts = {"comparison": comparison_chart(rows), "curves": curves_chart(rows), **charts}
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=runs[0].name if comparison is None else comparison["title"],
            comparison=comparison,
            runs=sections,
            specifications={key: _embedded(chart) for key, chart in charts.items()},
            dark=theme.DARK,
            theme=theme,
            library=_library(),
        )
    )


def _embedded(chart: Chart) -> Record:
    """The specification of a chart within the page: as wide as its container, and without the title, which the page has
    as a heading."""
    specification: Record = chart.to_dict()
    title = specification.pop("title")
    # The labels of the stages are above the plot, in the space below the title.
    specification["padding"]["top"] = title["offset"]
    specification["width"] = "container"
    specification["autosize"] = {"type": "fit-x", "contains": "padding"}
    return specification


@cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that can be inlined in HTML."""
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=vega_lite_version())
    return bundle.replace("</script", r"<\/script").replace("<!--", r"<\!--")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
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
        "share": lambda count, total: f"{100.0 * count / total:.1f} %",
    }
    environment.globals["OUTCOMES"] = {key: label for key, (label, _, _) in OUTCOMES.items()}
    return environment
