"""The chart of what a stage retains, learns and forgets of each class."""

from collections.abc import Mapping

import altair as alt

from smskd.analysis.visible import shortened, visible
from smskd.report.marks import Chart, Record, base, colour, finish, tip
from smskd.report.outcome_chart import OUTCOMES

MOST_CLASSES = 20
"""In a chart; of more the ones with most forgotten samples are shown."""

_BAR = 24
"""Height in pixels of a bar and the space around it."""

_LONGEST = 30
"""Characters of the name of a class."""


def class_chart(title: str, counts: Mapping[str, Mapping[str, int]]) -> Chart:
    """Outcomes of the samples of each class, one bar of 100 percent per class.

    Args:
        title: above the chart.
        counts: retained, learned, forgotten and never known samples by the name of the class.
    """
    names = list(counts)
    if len(names) > MOST_CLASSES:
        names = sorted(names, key=lambda name: -counts[name]["forgotten"])[:MOST_CLASSES]
    shown = {name: f"{shortened(visible(name), _LONGEST)}" for name in names}
    records = [segment for name in names for segment in _segments(shown[name], counts[name])]
    y = alt.Y(
        "class:N",
        title=None,
        scale=alt.Scale(domain=list(dict.fromkeys(shown.values()))),
        axis=alt.Axis(domain=False, ticks=False, grid=False),
    )
    x = alt.X("start:Q", title="Test images %", scale=alt.Scale(domain=[0, 100]), axis=alt.Axis(tickCount=5))
    tips = [tip("class", "Class", None), tip("series", "Outcome", None)]
    tips += [tip("samples", "Test images", ","), tip("share", "Share %", ".1f")]
    labels = [label for label, _, _ in OUTCOMES.values()]
    bars = (
        base(records)
        .mark_bar(height=16)
        .encode(y=y, x=x, x2="end:Q", color=colour(labels, [paint for _, paint, _ in OUTCOMES.values()]), tooltip=tips)
    )
    description = "Bar chart of the test images of each class that the stage retained, learned, forgot and never knew"
    return finish([bars], title, description, height=_BAR * len(names), long_names=True)


def _segments(name: str, counts: Mapping[str, int]) -> list[Record]:
    total = sum(counts[key] for key in OUTCOMES)
    start, found = 0.0, []
    for key, (label, _, _) in OUTCOMES.items():
        share = 100.0 * counts[key] / total if total else 0.0
        ends = {"start": start, "end": start + share}
        found.append({"class": name, "series": label, "samples": counts[key], "share": share, **ends})
        start += share
    return found
