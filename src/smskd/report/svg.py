"""Charts as SVG files."""

from pathlib import Path

import altair as alt
import vl_convert

from smskd.report.marks import Chart
from smskd.runs.atomic_files import write_text


def save_svg(chart: Chart, path: str | Path) -> None:
    """Writes a chart as SVG, in light colours on white.

    Args:
        chart: a chart of this package.
        path: of the file; missing parent folders are created.
    """
    specification = chart.to_dict()
    specification["config"]["background"] = "white"
    svg = vl_convert.vegalite_to_svg(specification, vl_version=vega_lite_version(), allowed_base_urls=[])
    write_text(Path(path), svg)


def vega_lite_version() -> str:
    """The version of Vega-Lite for which Altair writes specifications, as vl_convert names it: ``6.1``."""
    major, minor, *_ = alt.SCHEMA_VERSION.removeprefix("v").split(".")
    return f"{major}.{minor}"
