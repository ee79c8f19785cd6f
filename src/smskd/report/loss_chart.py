"""The chart of the parts of a run's training loss over the epochs."""

import altair as alt

from smskd.analysis.visible import shortened, visible
from smskd.report import stage_marks, theme
from smskd.report.marks import (
    MOST_LINES,
    Chart,
    base,
    colour,
    dash,
    epoch_axis,
    epoch_record,
    epoch_tips,
    finish,
    finite,
    hover,
    long,
    run_title,
    small_multiples,
    wide,
)
from smskd.runs.reader import Run

_LONGEST = 40
"""Characters of the name of a part above its own chart."""

_LOGARITHMIC_FROM = 20.0
"""Ratio of the largest loss to a stage's final one from which the axis is logarithmic."""


def loss_chart(run: Run) -> Chart:
    """The weighted parts of the training loss over the epochs, and their sum.

    More than six become small multiples, each with an axis of its own. Otherwise the axis is logarithmic where the
    losses of the stages differ greatly in size and none is negative.

    Args:
        run: a finished run.
    """
    names = _parts(run)
    records = [epoch_record(run, entry) | wide([entry["losses"].get(name) for name in names]) for entry in run.metrics]
    x = epoch_axis(run)
    title = f"{run_title(run)}: parts of the loss"
    description = "Line chart of the loss and its parts over the epochs"
    if len(names) > MOST_LINES:
        y = alt.Y("value:Q", title=None, scale=alt.Scale(nice=True), axis=alt.Axis(tickCount=4))
        line = alt.Chart().mark_line(color=theme.BLUE).encode(x=x, y=y, detail="stage:N")
        shown = [shortened(visible(name), _LONGEST) for name in names]
        return small_multiples([line], long(records, shown), shown, title, description, own_axes=True)
    logarithmic = _logarithmic(run)
    values = [record for record in long(records, names) if record["value"] > 0 or not logarithmic]
    lines = (
        base(values)
        .mark_line()
        .encode(
            x=x,
            y=_loss_axis(logarithmic),
            color=colour(names, [theme.GREY, *theme.colours(len(names) - 1)]),
            strokeDash=dash(names, [[1, 0], *theme.dashes(len(names) - 1)]),
            # A part that is missing in a stage is not connected across it.
            detail="stage:N",
        )
    )
    return finish(
        [*stage_marks.marks(run.stages, x), lines, hover(records, epoch_tips(run), names, ".4f")],
        title,
        description,
        above=stage_marks.height(run.stages),
    )


def _parts(run: Run) -> list[str]:
    """The total, then the parts in the order of their first occurrence; parts that are always zero are left out."""
    nonzero: dict[str, bool] = {"total": True}
    for entry in run.metrics:
        for name, value in entry["losses"].items():
            nonzero[name] = nonzero.get(name, False) or value != 0
    return [name for name, shown in nonzero.items() if shown]


def _logarithmic(run: Run) -> bool:
    """Whether a linear axis would flatten the losses of one stage because of another's."""
    totals = [(entry["stage"], finite(entry["losses"]["total"])) for entry in run.metrics]
    known = [(stage, total) for stage, total in totals if total is not None]
    ends = dict(known).values()
    negative = any(value < 0 for entry in run.metrics for value in entry["losses"].values())
    return bool(known) and not negative and max(total for _, total in known) > _LOGARITHMIC_FROM * min(ends)


def _loss_axis(logarithmic: bool) -> alt.Y:
    if not logarithmic:
        return alt.Y("value:Q", title="Loss, weighted", scale=alt.Scale(nice=True))
    axis = alt.Axis(tickCount=5, format="~g")
    return alt.Y("value:Q", title="Loss, weighted (log scale)", scale=alt.Scale(type="log"), axis=axis)
