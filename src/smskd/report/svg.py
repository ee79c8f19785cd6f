"""Charts as SVG files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smskd.errors import UserError
from smskd.report.engine import EngineError, drawn
from smskd.report.marks import Chart
from smskd.runs.atomic_files import remove_leftovers, write_text


def save_svg(chart: Chart, path: str | Path) -> None:
    """Writes a chart as SVG, in light colours on white.

    Args:
        chart: a chart of this package.
        path: of the file; missing parent folders are created.

    Raises:
        UserError: the chart cannot be drawn, or the file cannot be written.
    """
    target = Path(path)
    save_svgs({target.name: chart}, target.parent)


def save_svgs(charts: Mapping[str, Chart], folder: Path) -> None:
    """Writes charts as SVG files, in light colours on white.

    Args:
        charts: of this package, by the names of their files.
        folder: of the files; it is created.

    Raises:
        UserError: the charts cannot be drawn, or a file cannot be written.
    """
    try:
        found = drawn({name: _on_white(chart) for name, chart in charts.items()})
    except EngineError as error:
        raise UserError(f"{folder}: no SVG files of the charts ({error})") from None
    for name, svg in found.items():
        remove_leftovers(folder / name)
        write_text(folder / name, svg.decode("utf-8"))


def _on_white(chart: Chart) -> dict[str, Any]:
    specification: dict[str, Any] = chart.to_dict()
    specification["config"]["background"] = "white"
    return specification
