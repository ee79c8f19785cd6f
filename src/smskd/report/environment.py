"""The templates of the page, and the specifications of charts within it."""

from functools import cache
from pathlib import Path

import jinja2

from smskd.analysis import format as text
from smskd.analysis.visible import shortened, visible
from smskd.report.isolation import isolated
from smskd.report.marks import Chart, Record, stage_methods
from smskd.report.outcome_chart import OUTCOMES
from smskd.report.visible_strings import visible_strings

_TITLE = 120
"""Characters of the title of a window."""


@cache
def environment() -> jinja2.Environment:
    """The environment of the templates. Every text is escaped, and its invisible characters are made visible."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        finalize=_visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.policies["json.dumps_kwargs"] = {
        "sort_keys": False,
        "allow_nan": False,
        "separators": (",", ":"),
    }
    found.filters |= {
        "percent": text.percent,
        "difference": text.difference,
        "duration": text.duration,
        "ratio": text.ratio,
        "methods": stage_methods,
        "isolated": isolated,
        "window_title": lambda words: shortened(words, _TITLE),
        "share": lambda count, total: f"{100.0 * count / total:.1f} %",
    }
    found.globals["OUTCOMES"] = {key: label for key, (label, _, _) in OUTCOMES.items()}
    return found


def embedded(chart: Chart) -> Record:
    """The specification of a chart within the page: as wide as its container, and without the title, which the page has
    as a heading. The script of the page sets the width of small multiples."""
    specification: Record = visible_strings(chart.to_dict())
    title = specification.pop("title")
    # The labels of the stages are above the plot, in the space below the title.
    specification["padding"]["top"] = title["offset"]
    if "facet" not in specification:
        specification["width"] = "container"
        specification["autosize"] = {"type": "fit-x", "contains": "padding"}
    return specification


def _visible(value: object) -> object:
    """Every text that the templates show; markup stays as it is."""
    return visible(value) if type(value) is str else value
