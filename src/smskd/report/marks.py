"""The parts that the charts share.

The values of the series are the fields ``v0``, ``v1``, ... of a record, never fields with the names of the series: a
method may be named ``package.module:Class``, and Vega reads a dot in the name of a field as a path.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt

from smskd.analysis.format import NONE
from smskd.analysis.visible import shortened, visible
from smskd.report import theme
from smskd.runs.reader import Run

Record = dict[str, Any]
Chart = alt.LayerChart | alt.FacetChart

WIDTH, HEIGHT = 680, 300

SMALL_WIDTH, SMALL_HEIGHT, SMALL_SPACE, SMALL_AXIS = 130, 110, 16, 44
"""Of many small charts, in pixels: least width, height, the space between them, and the width of a vertical axis."""

MOST_LINES = 6
"""In a chart; more become small multiples."""

_LONGEST_LABEL = 36
"""Characters of the methods in the label of a stage, which must fit on a phone."""

_LONGEST_NAME = 48
"""Characters of the name in the title of a chart."""


def base(records: Sequence[Record]) -> alt.Chart:
    """A chart with inline data and no marks yet."""
    return alt.Chart(alt.InlineData(values=list(records)))


def finish(
    layers: Sequence[alt.Chart],
    title: str,
    description: str,
    height: int = HEIGHT,
    above: int = 0,
    right: int = 8,
    long_names: bool = False,
) -> alt.LayerChart:
    """The layers as one chart in the theme of this package.

    Args:
        layers: from the bottom to the top.
        title: above the plot.
        description: for screen readers.
        height: of the plot in pixels.
        above, right: free space above the plot and to its right, in pixels.
        long_names: whether labels of the vertical axis and of the legend have more space.
    """
    chart: alt.LayerChart = (
        alt.layer(*layers)
        .properties(
            title=alt.TitleParams(title, offset=14 + above),
            description=description,
            width=WIDTH,
            height=height,
            padding={"left": 4, "right": right, "top": 6, "bottom": 4},
        )
        .configure(**theme.config(long_names=long_names))
    )
    return chart


def small_multiples(
    layers: Sequence[alt.Chart],
    records: Sequence[Record],
    names: Sequence[str],
    title: str,
    description: str,
    *,
    least: int = SMALL_WIDTH,
    two_lines: bool = False,
    own_axes: bool = False,
) -> alt.FacetChart:
    """One small chart for each value of the field ``series``, in the theme of this package.

    Args:
        layers: of each chart, from the bottom to the top, without data.
        records: of all charts.
        names: of the series, in the order of the charts; each stands above its own.
        title: above all.
        description: for screen readers.
        least: width of a chart in pixels, for which as many stand side by side as there is space for.
        two_lines: whether a name is broken at `` · ``.
        own_axes: whether each chart has a vertical axis of its own.
    """
    label = "split(datum.label, ' · ')" if two_lines else "datum.label"
    height = {1: 200, 2: 150}.get(len(names), SMALL_HEIGHT)
    gap = SMALL_SPACE + (SMALL_AXIS if own_axes else 0)
    across = min(len(names), max(1, (WIDTH + gap) // (least + gap)))
    chart: alt.FacetChart = (
        alt.layer(*layers, data=alt.InlineData(values=list(records)))
        .properties(width=(WIDTH - gap * (across - 1)) / across, height=height)
        .facet(
            facet=alt.Facet(
                "series:N", sort=list(names), header=alt.Header(title=None, labelExpr=label, labelLineHeight=14)
            ),
            columns=across,
            spacing=SMALL_SPACE,
        )
        .properties(
            title=alt.TitleParams(title, offset=14),
            description=description,
            padding={"left": 4, "right": 8, "top": 6, "bottom": 4},
            usermeta={"panels": len(names), "least": least, "gap": gap},
        )
        .configure(**theme.config())
    )
    return chart.resolve_scale(y="independent") if own_axes else chart


def recipe_axis(names: Sequence[str]) -> alt.Y:
    """The vertical axis of recipes, from the top to the bottom; name and differences in two lines."""
    axis = alt.Axis(domain=False, ticks=False, grid=True, labelExpr="split(datum.label, ' · ')")
    return alt.Y("recipe:N", title=None, scale=alt.Scale(domain=list(names)), axis=axis)


def row_height(recipes: int) -> int:
    """Height in pixels of the line of a recipe: with many of them, less."""
    return 46 if recipes <= 16 else 40


def finite(value: float | None) -> float | None:
    """The value; None if it is NaN or infinite, which JSON cannot represent."""
    return value if value is not None and math.isfinite(value) else None


def wide(values: Sequence[float | None]) -> Record:
    """The values of all series at one epoch as the fields ``v0``, ``v1``, ... of a record."""
    return {f"v{i}": finite(value) for i, value in enumerate(values)}


def long(records: Sequence[Record], names: Sequence[str]) -> list[Record]:
    """One record per epoch and series that has a value there.

    Args:
        records: one per epoch, with the fields of :func:`wide`.
        names: of the series, in the order of the fields.
    """
    return [
        {"epoch": row["epoch"], "stage": row.get("stage"), "series": name, "value": row[f"v{i}"]}
        for row in records
        for i, name in enumerate(names)
        if row[f"v{i}"] is not None
    ]


def colour(names: Sequence[str], colours: Sequence[str]) -> alt.Color:
    """Colours by the field ``series``, with a legend."""
    return alt.Color("series:N", scale=alt.Scale(domain=list(names), range=list(colours)))


def dash(names: Sequence[str], patterns: Sequence[Sequence[float]]) -> alt.StrokeDash:
    """Dashes by the field ``series``; Vega merges them into the legend of the colours."""
    return alt.StrokeDash("series:N", scale=alt.Scale(domain=list(names), range=list(patterns)))


def tip(field: str, title: str, number: str | None = ".2f") -> alt.Tooltip:
    """A line of a tooltip; ``number`` is the format of a number, None for text."""
    if number is None:
        return alt.Tooltip(field=field, type="nominal", title=title)
    return alt.Tooltip(field=field, type="quantitative", title=title, format=number)


def epochs(first: int, last: int, field: str = "epoch") -> alt.X:
    """The horizontal axis of the epochs, from ``first`` to ``last``."""
    return alt.X(
        f"{field}:Q",
        title="Epoch",
        scale=alt.Scale(domain=[first - 0.5, last + 0.5], nice=False, zero=False),
        axis=alt.Axis(tickMinStep=1, format="d", tickCount=8),
    )


def percent_scale(values: Iterable[float | None], margin: float = 0.05) -> alt.Scale:
    """The scale of an accuracy: the range of the values with a margin, within 0 to 100 percent.

    It does not begin at 0, because the differences matter.

    Args:
        values: in percent; None and values that are not finite are ignored.
        margin: on either side, as a share of the range.
    """
    known = [value for value in map(finite, values) if value is not None] or [0.0, 100.0]
    space = margin * max(max(known) - min(known), 1.0)
    return alt.Scale(domain=[max(0.0, min(known) - space), min(100.0, max(known) + space)], nice=False, zero=False)


def hover(
    records: Sequence[Record], tips: Sequence[alt.Tooltip], names: Sequence[str], number: str = ".2f"
) -> alt.Chart:
    """A strip per epoch that is highlighted under the pointer, with a tooltip of all values of that epoch.

    Args:
        records: one per epoch, with the fields of :func:`wide`.
        tips: the first lines of the tooltip.
        names: of the series, which follow.
        number: the format of their values.
    """
    # Not Vega-Lite's selection of the nearest point, whose tooltips show text fields as "undefined".
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


def epoch_axis(run: Run) -> alt.X:
    """The horizontal axis of a run's epochs."""
    return epochs(run.metrics[0]["epoch"], run.metrics[-1]["epoch"])


def epoch_record(run: Run, entry: Mapping[str, Any]) -> Record:
    """Epoch, stage and learning rate of an entry of the metrics, as fields of a record."""
    return {
        "epoch": entry["epoch"],
        "stage": stage_label(run.stages[entry["stage"] - 1]),
        "rate": finite(entry.get("learning_rate")),
    }


def epoch_tips(run: Run) -> list[alt.Tooltip]:
    """The lines of a tooltip for the fields of :func:`epoch_record`; the stage only where there are several."""
    stage = [tip("stage", "Stage", None)] if len(run.stages) > 1 else []
    return [tip("epoch", "Epoch", "d"), *stage, tip("rate", "Learning rate", ".4~g")]


def stage_methods(stage: Mapping[str, Any]) -> str:
    """The methods of a stage: ``at + sp``; ``plain`` without any."""
    return " + ".join(stage["methods"]) or "plain"


def stage_label(stage: Mapping[str, Any]) -> str:
    """Number and methods of a stage: ``2 · kd``; the middle of long names is left out."""
    return f"{stage['index']} · {shortened(visible(stage_methods(stage)), _LONGEST_LABEL)}"


def run_title(run: Run) -> str:
    """Name and seed of a run, as the beginning of a chart's title."""
    return f"{shortened(visible(run.name), _LONGEST_NAME)}, seed {run.seed}"
