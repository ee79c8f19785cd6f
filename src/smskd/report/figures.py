"""Figures for papers: the charts of a page at the width of a column, as files."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smskd.errors import UserError
from smskd.report.engine import EngineError, Form, drawn
from smskd.report.marks import HEIGHT, SMALL_AXIS, Chart
from smskd.runs.atomic_files import remove_leftovers, replacing

COLUMN = 8.5
"""Width in centimetres of a column."""

NARROWEST, WIDEST = 5.0, 40.0
"""Widths in centimetres."""

_PIXELS_PER_CENTIMETRE = 96 / 2.54

_FONT = 0.8
"""Of the sizes on a page: labels have 7.2 points, titles 9."""

_FLAT = 0.65
"""Height of a chart in a column, of that on a page."""

_LETTER = 7.0
"""Width in pixels of a letter of a title."""


def save_figures(
    charts: Mapping[str, Chart], folder: str | Path, form: Form = "pdf", width: float = COLUMN
) -> list[Path]:
    """Writes charts as files for print, in light colours on white.

    Args:
        charts: of this package, by the names of their files without endings.
        folder: of the files; it is created.
        form: ``svg``, ``pdf`` with embedded fonts, or ``png`` with 300 pixels per inch.
        width: of each figure in centimetres, from 5 to 40.

    Returns:
        The files.

    Raises:
        UserError: the width is out of range, the charts cannot be drawn, or a file cannot be written.
    """
    if not NARROWEST <= width <= WIDEST:
        raise UserError(f"the width of a figure is from {NARROWEST:g} to {WIDEST:g} cm, not {width:g}")
    pixels = width * _PIXELS_PER_CENTIMETRE
    target = Path(folder)
    try:
        found = drawn({name: printed(chart.to_dict(), pixels) for name, chart in charts.items()}, form)
    except EngineError as error:
        raise UserError(f"{target}: no figures ({error})") from None
    files = []
    for name, content in found.items():
        file = target / f"{name}.{form}"
        remove_leftovers(file)
        with replacing(file) as temporary:
            temporary.write_bytes(content)
        files.append(file)
    return files


def printed(specification: dict[str, Any], width: float) -> dict[str, Any]:
    """The specification of a chart at another width, with fonts for print.

    Args:
        specification: of a chart of this package.
        width: in pixels of CSS, of which 96 are an inch.
    """
    found: dict[str, Any] = _smaller(specification)
    narrow = width < 480
    found["config"]["background"] = "white"
    found["title"]["text"] = textwrap.wrap(found["title"]["text"], max(20, int(width / _LETTER))) or ""
    if narrow:
        found["config"]["legend"] |= {"columns": 2, "labelLimit": width / 2 - 40}
        found["config"]["axisY"]["labelLimit"] = width / 3
    if "facet" in found:
        inner = width - SMALL_AXIS
        least, gap = found["usermeta"]["least"] * _FONT, found["usermeta"]["gap"]
        across = max(1, min(found["usermeta"]["panels"], int((inner + gap) / (least + gap))))
        found["columns"] = across
        found["spec"]["width"] = (inner - gap * (across - 1)) / across
        found["spec"]["height"] *= _FLAT
        found["facet"]["header"]["labelLimit"] = found["spec"]["width"]
    else:
        found |= {"width": width, "autosize": {"type": "fit-x", "contains": "padding"}}
        if narrow and found["height"] == HEIGHT:  # not where it is that of a number of rows
            found["height"] *= _FLAT
    return found


def _smaller(value: Any, key: str = "") -> Any:
    """A copy with smaller fonts."""
    if isinstance(value, dict):
        return {name: _smaller(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_smaller(item) for item in value]
    return value * _FONT if key.lower().endswith("fontsize") else value
