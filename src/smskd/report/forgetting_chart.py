"""The chart of what a run forgets and learns over the epochs of its stages."""

from collections.abc import Mapping
from typing import Any

import altair as alt

from smskd.report import stage_marks
from smskd.report.marks import (
    Chart,
    base,
    colour,
    dash,
    epoch_record,
    epoch_tips,
    epochs,
    finish,
    hover,
    long,
    run_title,
    wide,
)
from smskd.report.outcome_chart import OUTCOMES
from smskd.runs.reader import Run

_DRAWN = ("forgotten", "learned")
"""Of the outcomes; the others are in the tooltip."""


def forgetting_chart(run: Run) -> Chart:
    """Test samples that are forgotten and learned after each epoch, against the student at the start of its stage.

    The lines of a stage begin anew, since its start is the student that the stage before has carried on.

    Args:
        run: a finished run with transitions in its metrics.
    """
    entries = [entry for entry in run.metrics if entry.get("transitions") is not None]
    keys = [*_DRAWN, *(key for key in OUTCOMES if key not in _DRAWN)]
    names = [OUTCOMES[key][0] for key in keys]
    drawn = names[: len(_DRAWN)]
    records = [epoch_record(run, entry) | wide(_shares(entry["transitions"], keys)) for entry in entries]
    stages = [stage for stage in run.stages if any(entry["stage"] == stage["index"] for entry in entries)]
    x = epochs(entries[0]["epoch"], entries[-1]["epoch"])
    lines = (
        base(long(records, drawn))
        .mark_line()
        .encode(
            x=x,
            y=alt.Y("value:Q", title="Test samples %", scale=alt.Scale(zero=True, nice=True)),
            color=colour(drawn, [OUTCOMES[key][1] for key in _DRAWN]),
            strokeDash=dash(drawn, [[1, 0], [6, 3]]),
            detail="stage:N",
        )
    )
    return finish(
        [*stage_marks.marks(stages, x), lines, hover(records, epoch_tips(run), [f"{name} %" for name in names])],
        f"{run_title(run)}: forgotten and learned since the start of the stage",
        "Line chart of the test samples forgotten and learned in each stage over its epochs",
        above=stage_marks.height(stages),
    )


def has_transitions(run: Run) -> bool:
    """Whether the run has recorded them; runs of older versions have not, nor have those of a single stage."""
    return any(entry.get("transitions") is not None for entry in run.metrics)


def _shares(transitions: Mapping[str, Any], keys: list[str]) -> list[float | None]:
    total = max(1, sum(transitions[key] for key in OUTCOMES))
    return [100.0 * transitions[key] / total for key in keys]
