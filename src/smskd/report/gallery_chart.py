"""Small multiples: the accuracy of each recipe over the epochs."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Literal

import altair as alt

from smskd.analysis.compare import Row
from smskd.analysis.format import percent
from smskd.analysis.visible import shortened, visible
from smskd.report import theme
from smskd.report.marks import Chart, Record, epochs, percent_scale, small_multiples

_LONGEST = 60
"""Characters of a name above a small chart, in two lines."""


def gallery_chart(rows: Sequence[Row], split: Literal["validation", "test"]) -> Chart:
    """Top-1 accuracy over the epochs, a small chart for each recipe, all with the same axes.

    The line is the mean over the seeds, the band one standard deviation to either side. The grey line, the same in all
    of them, is the baseline, where the comparison has one.

    Args:
        rows: the comparison.
        split: the samples on which accuracies are measured.
    """
    names = [_name(row) for row in rows]
    curves = [_curve(row, f"{split}_top1") for row in rows]
    subtracted = {row.against.baseline for row in rows if row.against is not None}
    baseline = next((curve for row, curve in zip(rows, curves, strict=True) if row.label in subtracted), None)
    records = [
        record | {"series": name, "kind": "recipe"}
        for name, curve in zip(names, curves, strict=True)
        for record in curve
    ]
    if baseline is not None:
        known = {(name, point["epoch"]) for name, curve in zip(names, curves, strict=True) for point in curve}
        records += [
            point | {"series": name, "kind": "baseline"}
            for name in names
            for point in baseline
            if (name, point["epoch"]) in known
        ]
    ends = [record[key] for record in records for key in ("low", "high")]
    first, last = min(r["epoch"] for r in records), max(r["epoch"] for r in records)
    x, scale, axis = epochs(first, last), percent_scale(ends), alt.Axis(tickCount=4)
    y = alt.Y("mean:Q", title=None, scale=scale, axis=axis)
    band = alt.Y("low:Q", title=None, scale=scale, axis=axis)
    own, other = (alt.Chart().transform_filter(f"datum.kind === '{kind}'") for kind in ("recipe", "baseline"))
    layers = [
        own.mark_area(opacity=0.25, color=theme.BLUE).encode(x=x, y=band, y2="high:Q"),
        other.mark_line(color=theme.GREY, strokeWidth=1.25).encode(x=x, y=y),
        own.mark_line(color=theme.BLUE).encode(x=x, y=y),
    ]
    return small_multiples(
        layers,
        records,
        names,
        f"{split.capitalize()} top-1 accuracy % over the epochs, mean over the seeds",
        f"Small line charts of the {split} accuracy of each recipe over the epochs",
        two_lines=True,
    )


def _name(row: Row) -> str:
    return f"{shortened(visible(row.label), _LONGEST)} · {percent(row.top1_last.mean)}"


def _curve(row: Row, key: str) -> list[Record]:
    """Mean and standard deviation of the epochs that all seeds have."""
    curves = [{entry["epoch"]: float(entry[key]) for entry in run.metrics} for run in row.runs]
    shared = sorted(set.intersection(*(set(curve) for curve in curves)))
    found = []
    for epoch in shared:
        values = [curve[epoch] for curve in curves]
        mean, deviation = fmean(values), stdev(values) if len(values) > 1 else 0.0
        found.append({"epoch": epoch, "mean": mean, "low": mean - deviation, "high": mean + deviation})
    return found
