"""The chart of orders: a matrix of each method and the one that follows it."""

from collections.abc import Sequence

import altair as alt

from smskd.analysis.format import percent
from smskd.analysis.series import Follower
from smskd.analysis.visible import shortened, visible
from smskd.report import theme
from smskd.report.marks import Chart, Record, base, finish, tip

_CELL = 46
"""Height in pixels."""

_LONGEST = 30
"""Characters of the methods of a stage."""


def orders_chart(found: Sequence[Follower]) -> Chart:
    """Mean top-1 test accuracy of the runs in which one method is followed by another, as a matrix.

    Args:
        found: the pairs of methods.
    """
    firsts, thens = (_named(names) for names in zip(*((each.first, each.then) for each in found), strict=True))
    values = [each.top1 for each in found]
    middle = (min(values) + max(values)) / 2
    records: list[Record] = [
        {
            "first": firsts[each.first],
            "then": thens[each.then],
            "value": each.top1,
            "runs": each.runs,
            "text": [percent(each.top1), f"{each.runs} run{'s' if each.runs > 1 else ''}"],
            "ink": theme.ON_DEEP if each.top1 > middle else theme.INK,
        }
        for each in found
    ]
    x = alt.X(
        "then:N",
        title="is followed by",
        scale=alt.Scale(domain=[*thens.values()]),
        axis=alt.Axis(orient="top", domain=False, ticks=False, labelAngle=0, labelLimit=120, labelOverlap=False),
    )
    y = alt.Y(
        "first:N",
        title=None,
        scale=alt.Scale(domain=[*firsts.values()]),
        axis=alt.Axis(domain=False, ticks=False, grid=False),
    )
    tips = [
        tip("first", "Method", None),
        tip("then", "Followed by", None),
        tip("value", "Top-1 %"),
        tip("runs", "Runs", "d"),
    ]
    shade = alt.Fill(
        "value:Q",
        scale=alt.Scale(domain=[min(values), max(values)], range=[theme.PALE, theme.BLUE], zero=False, nice=False),
        legend=None,
    )
    layers = [
        base(records)
        .mark_rect(cornerRadius=3, stroke=theme.GROUND, strokeWidth=2)
        .encode(x=x, y=y, fill=shade, tooltip=tips),
        base(records)
        .mark_text(dy=-6, lineHeight=14)
        .encode(x=x, y=y, text="text:N", color=alt.Color("ink:N", scale=None), tooltip=tips),
    ]
    return finish(
        layers,
        "Mean top-1 accuracy % of the runs in which a method is followed by another",
        "Matrix of methods: the accuracy where the method of a row is followed by that of a column",
        height=_CELL * len(firsts),
        long_names=True,
    )


def _named(names: Sequence[str]) -> dict[str, str]:
    return {name: shortened(visible(name), _LONGEST) for name in sorted(set(names))}
