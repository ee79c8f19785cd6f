"""Charts of accuracy over a number: a key of the recipe, or the number of stages."""

from collections.abc import Sequence
from statistics import fmean

import altair as alt

from smskd.analysis.compare import Row, statistic
from smskd.analysis.format import spread
from smskd.analysis.series import Axis
from smskd.analysis.visible import shortened, visible
from smskd.report import theme
from smskd.report.marks import (
    MOST_LINES,
    Chart,
    Record,
    base,
    colour,
    dash,
    finish,
    percent_scale,
    small_multiples,
    tip,
)

_LONGEST = 60
"""Characters of the name of a series."""

_TEST, _TRAIN = "Test", "Train"


def axis_chart(axis: Axis) -> Chart:
    """Top-1 test accuracy of the last epoch over a key of the recipe.

    Points are means over the seeds, vertical lines one standard deviation to either side. More than six series become
    small multiples.

    Args:
        axis: the key, and the rows along it.
    """
    names = [shortened(visible(name or "Test accuracy"), _LONGEST) for name in axis.series]
    records = [
        _point(value, row, name)
        for name, points in zip(names, axis.series.values(), strict=True)
        for value, row in points
    ]
    return _chart(records, names, axis.key, f"Top-1 accuracy over {axis.key}")


def stage_count_chart(rows: Sequence[Row]) -> Chart:
    """Top-1 accuracy of the last epoch on training and test images over the number of stages.

    Points are recipes, the lines join their means. Training accuracy is that during the last epoch, with augmentation.

    Args:
        rows: with several numbers of stages.
    """
    records: list[Record] = []
    for row in rows:
        count = len(row.runs[0].stages)
        trained = statistic([float(run.metrics[-1]["train_top1"]) for run in row.runs])
        records.append(_point(count, row, _TEST))
        records.append(
            _point(count, row, _TRAIN)
            | {"value": trained.mean, "text": spread(trained)}
            | _ends(trained.mean, trained.deviation)
        )
    return _chart(records, [_TEST, _TRAIN], "Number of stages", "Top-1 accuracy over the number of stages", whole=True)


def several_stage_counts(rows: Sequence[Row]) -> bool:
    """Whether rows differ in their number of stages, from one on those with a method."""
    return len({len(row.runs[0].stages) for row in rows if not row.plain}) > 1


def _chart(records: Sequence[Record], names: Sequence[str], title: str, heading: str, *, whole: bool = False) -> Chart:
    ends = [record[key] for record in records for key in ("low", "high")]
    x = alt.X(
        "x:Q",
        title=title,
        scale=alt.Scale(zero=False, nice=False, padding=14),
        axis=alt.Axis(values=sorted({record["x"] for record in records}), format="d")
        if whole
        else alt.Axis(tickCount=6),
    )
    scale = percent_scale(ends)
    small = len(names) > MOST_LINES
    y = alt.Y("value:Q", title=None if small else "Top-1 accuracy %", scale=scale)
    tips = [tip("series", "Series", None), tip("recipe", "Recipe", None), tip("x", title, "~g")]
    tips += [tip("text", "Top-1 %", None), tip("seeds", "Seeds", "d")]
    if small:
        own = alt.Chart()
        layers = [
            own.transform_calculate(value="datum.low").mark_rule(color=theme.BLUE).encode(x=x, y=y, y2="high:Q"),
            own.mark_line(color=theme.BLUE).encode(x=x, y=y),
            own.mark_circle(size=36, opacity=1, color=theme.BLUE).encode(x=x, y=y, tooltip=tips),
        ]
        return small_multiples(layers, records, names, heading, f"Small charts: {heading}")
    paint = colour(names, theme.colours(len(names)))
    if len(names) == 1:
        paint = alt.Color("series:N", scale=alt.Scale(domain=list(names), range=[theme.BLUE]), legend=None)
    pattern = dash(names, theme.dashes(len(names)))
    layers = [
        base(records)
        .transform_calculate(value="datum.low")
        .mark_rule(strokeWidth=1.25)
        .encode(x=x, y=y, y2="high:Q", color=paint),
        base(_means(records)).mark_line().encode(x=x, y=y, color=paint, strokeDash=pattern),
        base(records).mark_circle(size=54, opacity=1).encode(x=x, y=y, color=paint, tooltip=tips),
    ]
    return finish(layers, heading, f"Line chart: {heading}", long_names=len(names) > 1)


def _point(x: float, row: Row, series: str) -> Record:
    mean, deviation = row.top1_last.mean, row.top1_last.deviation
    texts = {"series": series, "recipe": row.label, "text": spread(row.top1_last), "seeds": len(row.seeds)}
    return {"x": x, "value": mean, **_ends(mean, deviation), **texts}


def _ends(mean: float, deviation: float | None) -> dict[str, float]:
    return {"low": mean - (deviation or 0.0), "high": mean + (deviation or 0.0)}


def _means(records: Sequence[Record]) -> list[Record]:
    """The mean of each series at each place."""
    values: dict[tuple[str, float], list[float]] = {}
    for record in records:
        values.setdefault((record["series"], record["x"]), []).append(record["value"])
    return [{"series": series, "x": x, "value": fmean(found)} for (series, x), found in sorted(values.items())]
