"""One HTML page of a run, or of several side by side; a single file that opens without a network."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import vl_convert
import yaml

from smskd.analysis import format as wording
from smskd.analysis.compare import Row, compare
from smskd.analysis.tables import columns, common, phrases
from smskd.errors import UserError
from smskd.report import theme
from smskd.report.charts import OUTCOMES, run_charts, save_svg, vega_lite_version
from smskd.report.comparison_charts import comparison_chart, curves_chart
from smskd.report.marks import Chart, Record, methods_words, stage_label
from smskd.runs.atomic_files import write_text
from smskd.runs.reader import Run, load_run

PAGE = "report.html"
CHARTS = "charts"


def write_report(runs: Sequence[Run], path: str | Path) -> Path:
    """Writes the page of some runs.

    One run has the page to itself. Of several, the comparison over their seeds comes first, and each run can be
    opened below it.

    Args:
        runs: finished runs, as :func:`smskd.runs.reader.find_runs` gives them.
        path: the HTML file; its folder is made where it is missing.

    Returns:
        ``path``.

    Raises:
        UserError: there are no runs, or two runs of the same recipe with the same seed.
    """
    if not runs:
        raise UserError("no runs to write a page of; give the folder of a run, or one with runs below it")
    target = Path(path)
    write_text(target, _html(runs))
    return target


def write_run_report(run_folder: str | Path) -> Path:
    """Writes ``report.html`` and ``charts/*.svg`` into the folder of a finished run.

    Args:
        run_folder: the run's own folder.

    Returns:
        The page's path.

    Raises:
        UserError: as :func:`smskd.runs.reader.load_run`.
    """
    run = load_run(run_folder)
    for name, chart in run_charts(run).items():
        save_svg(chart, run.path / CHARTS / f"{name}.svg")
    return write_report([run], run.path / PAGE)


def _html(runs: Sequence[Run]) -> str:
    sections = [_section(f"run{number}", run) for number, run in enumerate(runs)]
    charts = {key: chart for section in sections for key, chart in section["charts"].items()}
    comparison = None
    if len(runs) > 1:
        rows = compare(runs)
        comparison = _comparison(rows)
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


def _section(key: str, run: Run) -> Record:
    return {
        "key": key,
        "run": run,
        "summary": run.summary,
        "charts": {f"{key}-{name}": chart for name, chart in run_charts(run).items()},
        "measures": list(_measures(run)),
        "costs": _costs(run),
        "best": max(run.metrics, key=lambda entry: float(entry["test_top1"]))["epoch"],
        "recipe": yaml.safe_dump(dict(run.recipe), sort_keys=False, allow_unicode=True),
        "environment": dict(_flat(run.environment)),
    }


def _measures(run: Run) -> Iterator[tuple[str, str, str, str]]:
    """The lines of the headline table: measure, teacher, student, difference or ratio."""
    student, teacher = run.summary["student"], run.summary["teacher"] or {}

    def accuracy(words: str, teacher_key: str, key: str) -> tuple[str, str, str, str]:
        ours, theirs = student.get(key), teacher.get(teacher_key)
        gap = None if ours is None or theirs is None else ours - theirs
        return words, wording.percent(theirs), wording.percent(ours), wording.difference(gap)

    def cost(words: str, key: str) -> tuple[str, str, str, str]:
        ours, theirs = student.get(key), teacher.get(key)
        times = wording.ratio(theirs, ours)
        fewer = times if times == wording.NONE else f"{times} smaller"
        return words, wording.count(theirs), wording.count(ours), fewer

    yield accuracy("Top-1, last epoch %", "top1_last", "top1_last")
    yield accuracy("Top-1, best epoch %", "top1_best", "top1_best")
    if student.get("top1", student["top1_last"]) != student["top1_last"]:
        # The weights kept need not be the last epoch's: an average of them, or the best epoch's.
        yield accuracy("Top-1, saved weights %", "top1_last", "top1")
    if student.get("top5_last") is not None:
        yield accuracy("Top-5, last epoch %", "top5_last", "top5_last")
    yield cost("Parameters", "parameters")
    yield cost("MACs for a picture", "macs")
    for size, words in (("1", "Prediction of a picture"), ("64", "Prediction of 64 pictures")):
        ours, theirs = ((side.get("latency_milliseconds") or {}).get(size) for side in (student, teacher))
        if ours is not None:
            times = wording.ratio(theirs, ours)
            faster = times if times == wording.NONE else f"{times} faster"
            yield words, wording.milliseconds(theirs), wording.milliseconds(ours), faster


def _costs(run: Run) -> Record | None:
    """What a step of each stage costs, a line a part; None for a run that does not tell."""
    told = [(stage, stage["cost"]) for stage in run.stages if stage.get("cost")]
    parts = dict.fromkeys(part for _, cost in told for part in cost["milliseconds"])
    shown = [part for part in parts if any(cost["milliseconds"].get(part) for _, cost in told)]
    if not shown:
        return None
    costs = [cost for _, cost in told]
    return {
        "stages": [stage_label(stage) for stage, _ in told],
        "parts": [
            (wording.part_name(part), [wording.milliseconds(cost["milliseconds"].get(part) or None) for cost in costs])
            for part in shown
        ],
        "step": [wording.milliseconds(cost["step_milliseconds"]) for cost in costs],
        "speed": [wording.count(cost["images_per_second"]) for cost in costs],
        "memory": [wording.memory(cost["peak_memory_bytes"]) for cost in costs],
    }


def _comparison(rows: Sequence[Row]) -> Record:
    shared = common(rows)
    shown = [column for column in columns(rows) if column.title not in shared]
    return {
        "title": f"{rows[0].name}, {len(rows[0].runs)} seeds" if len(rows) == 1 else f"{len(rows)} recipes compared",
        "common": phrases(shared),
        "columns": shown,
        "rows": [[column.text(row) for column in shown] for row in rows],
        "plain": next((row.name for row in rows if row.plain), None),
        "with_plain": any(row.over_plain is not None for row in rows),
        "with_forgotten": any(row.forgotten is not None for row in rows),
        "several_seeds": any(len(row.runs) > 1 for row in rows),
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, bool):
            yield f"{prefix}{key}", "yes" if value else "no"
        elif value is not None:
            yield f"{prefix}{key}", str(value)


def _embedded(chart: Chart) -> Record:
    """The chart as the page shows it: as wide as its place there, and without the title that the page gives it."""
    specification: Record = chart.to_dict()
    title = specification.pop("title")
    # The stages' labels stand over the plot, where the title had left them room.
    specification["padding"]["top"] = title["offset"]
    specification["width"] = "container"
    specification["autosize"] = {"type": "fit-x", "contains": "padding"}
    return specification


@cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that can stand inside an HTML element."""
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
        "percent": wording.percent,
        "difference": wording.difference,
        "duration": wording.duration,
        "ratio": wording.ratio,
        "methods": methods_words,
        "share": lambda count, total: f"{100.0 * count / total:.1f} %",
    }
    environment.globals["OUTCOMES"] = {key: word for key, (word, _, _) in OUTCOMES.items()}
    return environment
