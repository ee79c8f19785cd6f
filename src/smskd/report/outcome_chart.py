"""The chart of the test samples that each stage retains, learns and forgets."""

from collections.abc import Mapping
from typing import Any

import altair as alt

from smskd.report import theme
from smskd.report.marks import Chart, Record, base, colour, finish, run_title, stage_label, tip
from smskd.runs.reader import Run

OUTCOMES = {
    "retained": ("Retained", theme.BLUE, theme.ON_DEEP),
    "learned": ("Learned", theme.GREEN, theme.ON_BRIGHT),
    "forgotten": ("Forgotten", theme.ORANGE, theme.ON_BRIGHT),
    "never_known": ("Never known", theme.GREY, theme.ON_DEEP),
}
"""The outcomes of a test sample in a stage, by the key of the summary: label, colour, colour of text on it."""

_BAR = 40
"""Height in pixels of a bar and the space around it."""

_LABELLED_FROM = 12.0
"""Percent of a bar from which the label of a segment fits, even on a phone."""


def outcome_chart(run: Run) -> Chart:
    """Outcomes of the test samples in each stage from the second on, one bar of 100 percent per stage.

    Predictions at the end of the stage are compared with those at the end of the previous stage. Retained: correct both
    times. Learned: wrong, then correct. Forgotten: correct, then wrong. Never known: wrong both times.

    Args:
        run: a finished run with at least one stage that has outcomes.
    """
    segments = [segment for stage in stages_with_outcomes(run) for segment in _segments(stage)]
    y = alt.Y("stage:N", title=None, sort=None, axis=alt.Axis(domain=False, ticks=False, grid=False))
    tips = [tip("stage", "Stage", None), tip("series", "Outcome", None)]
    tips += [tip("samples", "Test samples", ","), tip("share", "Share %")]
    labels = [label for label, _, _ in OUTCOMES.values()]
    bars = (
        base(segments)
        .mark_bar(height=26)
        .encode(
            y=y,
            x=alt.X(
                "start:Q",
                title="Test samples %",
                scale=alt.Scale(domain=[0, 100]),
                axis=alt.Axis(tickCount=5),
            ),
            x2="end:Q",
            color=colour(labels, [paint for _, paint, _ in OUTCOMES.values()]),
            tooltip=tips,
        )
    )
    shares = (
        base([segment for segment in segments if segment["share"] >= _LABELLED_FROM])
        .mark_text(fontWeight=600)
        .encode(
            y=y,
            x=alt.X("middle:Q"),
            text=alt.Text("share:Q", format=".1f"),
            color=alt.Color("ink:N", scale=None),
            tooltip=tips,
        )
    )
    return finish(
        [bars, shares],
        f"{run_title(run)}: outcomes of the test samples",
        "Bar chart of the test samples retained, learned, forgotten and never known in each stage",
        height=_BAR * len(stages_with_outcomes(run)),
    )


def stages_with_outcomes(run: Run) -> list[Mapping[str, Any]]:
    """The stages whose predictions were compared with those of the stage before."""
    return [stage for stage in run.stages if all(stage[key] is not None for key in OUTCOMES)]


def _segments(stage: Mapping[str, Any]) -> list[Record]:
    total = sum(stage[key] for key in OUTCOMES)
    start = 0.0
    segments = []
    for key, (label, _, ink) in OUTCOMES.items():
        share = 100.0 * stage[key] / total
        segments.append(
            {
                "stage": stage_label(stage),
                "series": label,
                "samples": stage[key],
                "share": share,
                "start": start,
                "middle": start + share / 2,
                "end": start + share,
                "ink": ink,
            }
        )
        start += share
    return segments
