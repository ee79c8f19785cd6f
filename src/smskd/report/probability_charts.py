"""Charts of predicted probabilities: reliability, the true class probability, and the weights that follow from it."""

from collections.abc import Mapping, Sequence

import altair as alt

from smskd.report import theme
from smskd.report.marks import MOST_LINES, Chart, Record, base, colour, dash, finish, small_multiples, tip

_PERCENT = alt.Scale(domain=[0, 100])


def reliability_chart(title: str, curves: Mapping[str, Sequence[tuple[float, float, int]]]) -> Chart:
    """Accuracy over confidence, a line per stage, with the diagonal.

    Args:
        title: above the chart.
        curves: mean confidence, accuracy (both from 0 to 1) and number of samples of each bin, by the name of the line.
    """
    names = list(curves)
    records: list[Record] = [
        {"series": name, "x": 100 * confidence, "y": 100 * accuracy, "images": images}
        for name, bins in curves.items()
        for confidence, accuracy, images in bins
        if images
    ]
    x = alt.X("x:Q", title="Confidence %", scale=_PERCENT, axis=alt.Axis(tickCount=5))
    y = alt.Y("y:Q", title="Accuracy %", scale=_PERCENT, axis=alt.Axis(tickCount=5))
    tips = [tip("series", "Stage", None), tip("x", "Mean confidence %", ".1f"), tip("y", "Accuracy %", ".1f")]
    tips += [tip("images", "Images", ",")]
    size = alt.Size("images:Q", scale=alt.Scale(range=[12, 160]), legend=None)
    heading, words = f"{title}: calibration", "Line chart of accuracy over confidence"
    if len(names) > MOST_LINES:
        own = alt.Chart()
        layers = [
            own.mark_line(color=theme.BLUE).encode(x=x, y=y),
            own.mark_circle(color=theme.BLUE, opacity=1).encode(x=x, y=y, size=size, tooltip=tips),
        ]
        return small_multiples(layers, records, names, heading, words)
    paint = colour(names, theme.colours(len(names)))
    diagonal: list[Record] = [{"x": 0, "y": 0}, {"x": 100, "y": 100}]
    layers = [
        base(diagonal).mark_line(color=theme.RULE, strokeWidth=1, strokeDash=[3, 3]).encode(x=x, y=y),
        base(records).mark_line().encode(x=x, y=y, color=paint, strokeDash=dash(names, theme.dashes(len(names)))),
        base(records).mark_circle(opacity=1).encode(x=x, y=y, color=paint, size=size, tooltip=tips),
    ]
    return finish(layers, heading, words)


def distribution_chart(title: str, shares: Mapping[str, Sequence[float]]) -> Chart:
    """Shares of the samples in bins of equal width from 0 to 1, a line per network.

    Args:
        title: above the chart.
        shares: from 0 to 1, of each bin, by the name of the line.
    """
    names = list(shares)
    records = [
        {"series": name, **_bin(place, len(bins)), "value": 100 * share}
        for name, bins in shares.items()
        for place, share in enumerate(bins)
    ]
    x = alt.X("middle:Q", title="True class probability", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(tickCount=5))
    y = alt.Y("value:Q", title="Samples %", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=5))
    tips = [tip("series", "Network", None), tip("bin", "Probability", None), tip("value", "Samples %", ".1f")]
    words = "Line chart of the distribution of the true class probability"
    if len(names) > MOST_LINES:
        own = alt.Chart()
        layers = [
            own.mark_line(color=theme.BLUE).encode(x=x, y=y),
            own.mark_circle(color=theme.BLUE, opacity=1, size=28).encode(x=x, y=y, tooltip=tips),
        ]
        return small_multiples(layers, records, names, title, words)
    paint = colour(names, theme.colours(len(names)))
    layers = [
        base(records).mark_line().encode(x=x, y=y, color=paint, strokeDash=dash(names, theme.dashes(len(names)))),
        base(records).mark_circle(opacity=1, size=40).encode(x=x, y=y, color=paint, tooltip=tips),
    ]
    return finish(layers, title, words)


def weight_chart(title: str, stages: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Chart:
    """Shares of the samples and of their weight in bins of the true class probability, a small chart per stage.

    Args:
        title: above the chart.
        stages: of each bin the share of the samples and that of the weight, from 0 to 1, by the name of the stage.
    """
    records = [
        {"series": name, **_bin(place, len(samples)), "samples": 100 * share, "weight": 100 * weight}
        for name, (samples, weights) in stages.items()
        for place, (share, weight) in enumerate(zip(samples, weights, strict=True))
    ]
    x = alt.X("low:Q", title="True class probability", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(tickCount=5))
    y = alt.Y("samples:Q", title="Share %", axis=alt.Axis(tickCount=4))
    weight = alt.Y("weight:Q", title="Share %", axis=alt.Axis(tickCount=4))
    tips = [tip("bin", "Probability", None), tip("samples", "Samples %", ".1f"), tip("weight", "Weight %", ".1f")]
    own = alt.Chart()
    layers = [
        own.mark_rect(color=theme.GREY, opacity=0.45).encode(x=x, x2="high:Q", y=y, y2=alt.datum(0), tooltip=tips),
        own.mark_line(color=theme.BLUE).encode(x=alt.X("middle:Q"), y=weight),
        own.mark_circle(color=theme.BLUE, opacity=1, size=30).encode(x=alt.X("middle:Q"), y=weight, tooltip=tips),
    ]
    words = "Small charts of the samples and of their weights by true class probability"
    return small_multiples(layers, records, list(stages), title, words)


def _bin(place: int, count: int) -> Record:
    low, high = place / count, (place + 1) / count
    return {"low": low, "high": high, "middle": (low + high) / 2, "bin": f"{low:g} to {high:g}"}
