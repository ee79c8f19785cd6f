"""The chart of a run's accuracy over the epochs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt

from smskd.analysis.format import percent
from smskd.report import stage_marks, theme
from smskd.report.marks import (
    Chart,
    base,
    colour,
    dash,
    epoch_axis,
    epoch_record,
    epoch_tips,
    finish,
    hover,
    long,
    percent_scale,
    run_title,
    tip,
    wide,
)
from smskd.runs.reader import Run


@dataclass(frozen=True)
class _Series:
    name: str
    key: str
    colour: str
    dash: tuple[int, int]


_TEST = _Series("Test", "test_top1", theme.BLUE, (1, 0))
_VALIDATION = _Series("Validation", "validation_top1", theme.PLUM, (2, 2))
_TRAIN = _Series("Train", "train_top1", theme.ORANGE, (5, 3))


def accuracy_chart(run: Run) -> Chart:
    """Top-1 accuracy on the training, validation and test samples over the epochs.

    A horizontal line is the teacher's accuracy. A dot marks the last epoch, a ring the test accuracy of the best epoch
    by validation, where there is a validation split.

    Args:
        run: a finished run.
    """
    series = [_TEST, *([_VALIDATION] if run.has_validation else []), _TRAIN]
    names = [each.name for each in series]
    values = [(f"{each.name} top-1 %", each.key) for each in series]
    if run.metrics[-1].get("test_top5") is not None:
        values.append(("Test top-5 %", "test_top5"))
    records = [epoch_record(run, entry) | wide([entry.get(key) for _, key in values]) for entry in run.metrics]
    teacher = run.summary["teacher"]
    shown = [record[f"v{i}"] for record in records for i in range(len(series))]
    scale = percent_scale([*shown, teacher["top1_last"] if teacher else None])
    x, y = epoch_axis(run), alt.Y("value:Q", title="Top-1 accuracy %", scale=scale)
    lines = (
        base(long(records, names))
        .mark_line()
        .encode(
            x=x,
            y=y,
            color=colour(names, [each.colour for each in series]),
            strokeDash=dash(names, [each.dash for each in series]),
        )
    )
    return finish(
        [
            *stage_marks.marks(run.stages, x),
            *_teacher_line(teacher, y),
            lines,
            hover(records, epoch_tips(run), [words for words, _ in values]),
            _last_and_best(run, x, y),
        ],
        f"{run_title(run)}: accuracy",
        "Line chart of the top-1 accuracy over the epochs",
        above=stage_marks.height(run.stages),
    )


def _teacher_line(teacher: Mapping[str, Any] | None, y: alt.Y) -> list[alt.Chart]:
    if teacher is None:
        return []
    line = base([{"value": teacher["top1_last"], "text": f"Teacher {percent(teacher['top1_last'])}"}])
    return [
        line.mark_rule(strokeDash=[2, 3], strokeWidth=1.5, color=theme.MUTED).encode(y=y),
        line.mark_text(align="left", baseline="top", dy=4).encode(y=y, x=alt.value(4), text="text:N"),
    ]


def _last_and_best(run: Run, x: alt.X, y: alt.Y) -> alt.Chart:
    """Points on the line of the test accuracy."""
    best, last = run.best(), run.metrics[-1]
    marked = [] if best is None else [(best, "Best epoch by validation", "transparent")]
    points = [
        {"epoch": entry["epoch"], "value": entry["test_top1"], "point": words, "filling": filling}
        for entry, words, filling in (*marked, (last, "Last epoch", theme.BLUE))
    ]
    tips = [tip("point", "Point", None), tip("epoch", "Epoch", "d"), tip("value", "Test top-1 %")]
    marks: alt.Chart = (
        base(points)
        .mark_point(size=64, strokeWidth=2, opacity=1, stroke=theme.BLUE)
        .encode(x=x, y=y, fill=alt.Fill("filling:N", scale=None, legend=None), tooltip=tips)
    )
    return marks
