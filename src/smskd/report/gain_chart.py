"""The chart of the differences to a baseline, with their intervals."""

from collections.abc import Sequence

import altair as alt

from smskd.analysis.compare import Row
from smskd.analysis.difference import PairedDifference
from smskd.analysis.format import difference, interval, probability
from smskd.analysis.visible import shortened, visible
from smskd.report import theme
from smskd.report.marks import Chart, Record, base, finish, recipe_axis, row_height, tip

LEVEL = 0.05
"""Below which a corrected p value counts as a difference."""

_LONGEST = 60
"""Characters of the baseline in the title."""

_ROOM = 0.1
"""On either side of the intervals, as a share of their range."""


def gain_chart(rows: Sequence[Row]) -> Chart:
    """Difference in top-1 test accuracy to the baseline, paired by seed, one line per recipe.

    A diamond is the mean, filled where the corrected p value is below 5 %. The thick line is the bootstrap interval,
    the thin one Student's, both of 95 %; dots below are the pairs of runs.

    Args:
        rows: the comparison; at least one has :attr:`~smskd.analysis.compare.Row.against`.
    """
    found = [(row.label, row.against) for row in rows if row.against is not None]
    records = [_record(label, each) for label, each in found]
    pairs: list[Record] = [
        {"recipe": label, "value": value, "seed": seed}
        for label, each in found
        for seed, value in zip(each.seeds, each.values, strict=True)
    ]
    height = row_height(len(found))
    y = recipe_axis([label for label, _ in found])
    ends = [record[key] for record in records for key in ("low", "high", "t_low", "t_high")]
    reach = [0.0, *ends, *(record["value"] for record in pairs)]
    space = _ROOM * max(max(reach) - min(reach), 0.5)
    x = alt.X(
        "value:Q",
        title="Difference, percentage points",
        scale=alt.Scale(domain=[min(reach) - space, max(reach) + space], nice=False, zero=False),
        axis=alt.Axis(grid=True, tickCount=6),
    )
    recipe = tip("recipe", "Recipe", None)
    tips = [
        recipe,
        tip("text", "Difference", None),
        tip("bootstrap", "95 % interval (bootstrap)", None),
        tip("student", "95 % interval (Student)", None),
        tip("p", "p (paired t test, Holm)", None),
        tip("pairs", "Pairs of runs", "d"),
    ]
    layers = [
        base([{"value": 0.0}]).mark_rule(color=theme.MUTED, strokeWidth=1.5).encode(x=x),
        base(records)
        .transform_calculate(value="datum.t_low")
        .mark_rule(strokeWidth=1, color=theme.BLUE)
        .encode(y=y, x=x, x2="t_high:Q"),
        base(records)
        .transform_calculate(value="datum.low")
        .mark_rule(strokeWidth=3, color=theme.BLUE)
        .encode(y=y, x=x, x2="high:Q"),
        base(pairs)
        .mark_circle(size=30, opacity=0.8, color=theme.SKY, yOffset=min(11, height // 3))
        .encode(y=y, x=x, tooltip=[recipe, tip("seed", "Seed", "d"), tip("value", "Difference", "+.2f")]),
        base(records)
        .mark_point(shape="diamond", size=110, opacity=1, stroke=theme.BLUE, strokeWidth=1.5)
        .encode(y=y, x=x, fill=alt.Fill("filling:N", scale=None, legend=None), tooltip=tips),
    ]
    return finish(
        layers,
        f"Difference to {shortened(visible(found[0][1].baseline), _LONGEST)}",
        "Dot plot of the difference of each recipe to the baseline, with 95 % intervals",
        height=height * len(found),
        long_names=True,
    )


def _record(label: str, each: PairedDifference) -> Record:
    half = each.half_width or 0.0
    low, high = each.interval or (each.mean, each.mean)
    certain = each.corrected_p is not None and each.corrected_p < LEVEL
    return {
        "recipe": label,
        "value": each.mean,
        "low": low,
        "high": high,
        "t_low": each.mean - half,
        "t_high": each.mean + half,
        "text": difference(each.mean),
        "bootstrap": interval(each.interval),
        "student": interval(None if each.half_width is None else (each.mean - half, each.mean + half)),
        "p": probability(each.corrected_p),
        "pairs": len(each.seeds),
        "filling": theme.BLUE if certain else "transparent",
    }
