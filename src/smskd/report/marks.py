"""The parts that several charts are made of.

Series are fields ``v0``, ``v1``, ... of a record and never fields of their own names: a method may be called
``package.module:Class``, and Vega reads a dot in a field's name as a path.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt

from smskd.analysis.format import NONE
from smskd.report import theme

Record = dict[str, Any]
Chart = alt.LayerChart

WIDTH, HEIGHT = 680, 300


def base(records: Sequence[Record]) -> alt.Chart:
    """A chart without marks, its data inside."""
    return alt.Chart(alt.InlineData(values=list(records)))


def finish(
    layers: Sequence[alt.Chart],
    title: str,
    description: str,
    height: int = HEIGHT,
    above: int = 0,
    right: int = 8,
) -> Chart:
    """The layers as one chart in the house's theme; ``above`` the plot and ``right`` of it so many pixels stay free."""
    chart: Chart = (
        alt.layer(*layers)
        .properties(
            title=alt.TitleParams(title, offset=14 + above),
            description=description,
            width=WIDTH,
            height=height,
            padding={"left": 4, "right": right, "top": 6, "bottom": 4},
        )
        .configure(**theme.config())
    )
    return chart


def finite(value: float | None) -> float | None:
    """The value, or None where JSON has no word for it."""
    return value if value is not None and math.isfinite(value) else None


def wide(values: Sequence[float | None]) -> Record:
    """The values of all series at one epoch, as fields of a record."""
    return {f"v{i}": finite(value) for i, value in enumerate(values)}


def long(records: Sequence[Record], names: Sequence[str]) -> list[Record]:
    """One record for each value of the series; those without a value are left out."""
    return [
        {"epoch": row["epoch"], "stage": row.get("stage"), "series": name, "value": row[f"v{i}"]}
        for row in records
        for i, name in enumerate(names)
        if row[f"v{i}"] is not None
    ]


def colour(names: Sequence[str], colours: Sequence[str], legend: bool = True) -> alt.Color:
    """Colour by the field ``series``."""
    scale = alt.Scale(domain=list(names), range=list(colours))
    return alt.Color("series:N", scale=scale) if legend else alt.Color("series:N", scale=scale, legend=None)


def dash(names: Sequence[str], patterns: Sequence[Sequence[float]]) -> alt.StrokeDash:
    """Dashes by the field ``series``; merged into the legend of the colours."""
    return alt.StrokeDash("series:N", scale=alt.Scale(domain=list(names), range=list(patterns)))


def tip(field: str, title: str, number: str | None = ".2f") -> alt.Tooltip:
    """A line of a tooltip; ``number`` is its format, None for text."""
    if number is None:
        return alt.Tooltip(field=field, type="nominal", title=title)
    return alt.Tooltip(field=field, type="quantitative", title=title, format=number)


def epochs(first: int, last: int, field: str = "epoch") -> alt.X:
    """The axis of the epochs."""
    return alt.X(
        f"{field}:Q",
        title="Epoch",
        scale=alt.Scale(domain=[first - 0.5, last + 0.5], nice=False, zero=False),
        axis=alt.Axis(tickMinStep=1, format="d", tickCount=8),
    )


def percent_scale(values: Iterable[float | None], margin: float = 0.05) -> alt.Scale:
    """The scale of an accuracy: what the values span and a little more, never beyond 0 and 100 percent.

    It does not begin at 0, as the differences matter and not the size.
    """
    known = [value for value in map(finite, values) if value is not None] or [0.0, 100.0]
    space = margin * max(max(known) - min(known), 1.0)
    return alt.Scale(domain=[max(0.0, min(known) - space), min(100.0, max(known) + space)], nice=False, zero=False)


def hover(
    records: Sequence[Record], tips: Sequence[alt.Tooltip], names: Sequence[str], number: str = ".2f"
) -> alt.Chart:
    """A strip for each epoch that lights up under the pointer and tells all values of that epoch.

    Args:
        records: one an epoch, with the fields of :func:`wide`.
        tips: what the tooltip begins with.
        names: the series; they follow.
        number: the format of their values.
    """
    # Strips, and not Vega-Lite's nearest point: in the tooltips of that, text fields are "undefined".
    strips = [
        record
        | {"left": record["epoch"] - 0.5, "right": record["epoch"] + 0.5}
        | {f"t{i}": NONE if record[f"v{i}"] is None else format(record[f"v{i}"], number) for i in range(len(names))}
        for record in records
    ]
    under_pointer = alt.selection_point(
        name="hover", on="pointerover", clear="pointerout", fields=["epoch"], empty=False
    )
    strip: alt.Chart = (
        base(strips)
        .mark_rect(color=theme.MUTED, cursor="crosshair")
        .encode(
            x=epochs(records[0]["epoch"], records[-1]["epoch"], field="left"),
            x2="right:Q",
            tooltip=[*tips, *(tip(f"t{i}", name, None) for i, name in enumerate(names))],
            opacity=alt.condition(under_pointer, alt.value(0.14), alt.value(0)),
        )
        .add_params(under_pointer)
    )
    return strip


def methods_words(stage: Mapping[str, Any]) -> str:
    """The methods of a stage in words: ``at + sp``; ``plain`` without any."""
    return " + ".join(stage["methods"]) or "plain"


def stage_label(stage: Mapping[str, Any]) -> str:
    """A stage in few words: ``2 · kd``."""
    return f"{stage['index']} · {methods_words(stage)}"
