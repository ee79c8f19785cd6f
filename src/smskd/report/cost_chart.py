"""The chart of what recipes cost against how accurate they are."""

from collections.abc import Sequence
from statistics import fmean
from typing import Literal

import altair as alt

from smskd.analysis.compare import Row
from smskd.analysis.format import duration, spread
from smskd.report import theme
from smskd.report.marks import Chart, Record, base, finish, percent_scale, tip

Cost = Literal["seconds", "epochs"]

_TITLES: dict[Cost, str] = {"seconds": "Time of training, minutes", "epochs": "Epochs"}

_LOGARITHMIC_FROM = 20.0
"""Ratio of the largest cost to the smallest from which the axis is logarithmic."""


def cost_chart(rows: Sequence[Row], cost: Cost) -> Chart:
    """Top-1 test accuracy of the last epoch over the cost of a run, mean over the seeds.

    Filled points, which have their names beside them, are those that no cheaper recipe reaches.

    Args:
        rows: the comparison.
        cost: ``seconds`` of training, also those of stages from a store; or ``epochs``.
    """
    records = [_record(row, cost) for row in rows]
    for record in records:
        cheaper = [other["value"] for other in records if other["x"] < record["x"]]
        equal = [other["value"] for other in records if other["x"] == record["x"]]
        best = record["value"] >= max(equal) and all(record["value"] > value for value in cheaper)
        record |= {"best": best, "filling": theme.BLUE if best else "transparent"}
    xs = [record["x"] for record in records]
    logarithmic = min(xs) > 0 and max(xs) > _LOGARITHMIC_FROM * min(xs)
    x = alt.X(
        "x:Q",
        title=_TITLES[cost] + (" (log scale)" if logarithmic else ""),
        scale=alt.Scale(type="log" if logarithmic else "linear", zero=False, nice=False, padding=24),
        axis=alt.Axis(grid=True, tickCount=6, format="~g"),
    )
    scale = percent_scale([record["value"] for record in records], margin=0.12)
    y = alt.Y("value:Q", title="Top-1 accuracy %", scale=scale)
    tips = [tip("recipe", "Recipe", None), tip("cost", "Cost of a run", None), tip("text", "Top-1 %", None)]
    points = (
        base(records)
        .mark_point(size=70, strokeWidth=1.75, opacity=1, stroke=theme.BLUE)
        .encode(x=x, y=y, fill=alt.Fill("filling:N", scale=None, legend=None), tooltip=tips)
    )
    # Names stand to the left of points on the right side, so that they are within the plot.
    middle = (min(xs) * max(xs)) ** 0.5 if logarithmic else (min(xs) + max(xs)) / 2
    named = [record for record in records if record["best"]]
    labels = [
        base(own)
        .mark_text(align="right" if right else "left", dx=-9 if right else 9, fontSize=11, limit=120)
        .encode(x=x, y=y, text="recipe:N")
        for right in (False, True)
        if (own := [record for record in named if (record["x"] > middle) is right])
    ]
    layers = [points, *labels]
    return finish(
        layers,
        "Accuracy over the cost of a run",
        "Scatter plot of the accuracy of each recipe over its cost",
    )


def costs(rows: Sequence[Row]) -> list[Cost]:
    """The costs in which rows differ: times always do where there are several, epochs only if the recipes differ."""
    if len(rows) < 2:
        return []
    return ["seconds", *(["epochs"] if len(set(map(_epochs, rows))) > 1 else [])]  # type: ignore[list-item]


def _epochs(row: Row) -> float:
    return fmean(run.summary["epochs"] for run in row.runs)


def _record(row: Row, cost: Cost) -> Record:
    value = row.seconds / 60 if cost == "seconds" else _epochs(row)
    words = duration(row.seconds) if cost == "seconds" else f"{value:g} epochs"
    return {"recipe": row.label, "x": value, "value": row.top1_last.mean, "cost": words, "text": spread(row.top1_last)}
