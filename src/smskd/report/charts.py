"""Charts of one run. Each is one Vega-Lite specification, for the page, for a notebook and for SVG alike."""

from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from smskd.analysis.format import percent
from smskd.report import stage_marks, theme
from smskd.report.marks import (
    Chart,
    Record,
    base,
    colour,
    dash,
    epochs,
    finish,
    finite,
    hover,
    long,
    percent_scale,
    stage_label,
    tip,
    wide,
)
from smskd.runs.atomic_files import write_text
from smskd.runs.reader import Run

OUTCOMES = {
    "retained": ("Retained", theme.BLUE, theme.ON_DEEP),
    "learned": ("Learned", theme.GREEN, theme.ON_BRIGHT),
    "forgotten": ("Forgotten", theme.ORANGE, theme.ON_BRIGHT),
    "never_known": ("Never known", theme.GREY, theme.ON_DEEP),
}
"""What became of a test sample in a stage: the summary's key, the word, its colour, the ink upon that."""

_BAR = 40
"""Height in pixels that a bar takes with the space around it."""

_LEGIBLE_SHARE = 12.0
"""Percent of a bar below which a label would run into the neighbour's on a phone."""

_WIDE = 20.0
"""Ratio of the largest loss to a stage's final one from which the axis is logarithmic."""


def run_charts(run: Run) -> dict[str, Chart]:
    """All charts of a run by the name of their file; ``outcomes`` only where there are several stages."""
    charts = {"accuracy": accuracy_chart(run), "losses": loss_chart(run)}
    return charts | ({"outcomes": outcome_chart(run)} if len(run.stages) > 1 else {})


def accuracy_chart(run: Run) -> Chart:
    """Top-1 accuracy on training and test samples over the epochs, with the teacher's as a line across."""
    names = ("Test", "Train")
    told = [("Test top-1 %", "test_top1"), ("Train top-1 %", "train_top1")]
    if run.metrics[-1].get("test_top5") is not None:
        told.append(("Test top-5 %", "test_top5"))
    records = [_epoch(run, entry) | wide([entry[key] for _, key in told]) for entry in run.metrics]
    teacher = run.summary["teacher"]
    everything = [value for record in records for value in (record["v0"], record["v1"])]
    scale = percent_scale([*everything, teacher["top1_last"] if teacher else None])
    x, y = _x(run), alt.Y("value:Q", title="Top-1 accuracy %", scale=scale)
    lines = (
        base(long(records, names))
        .mark_line()
        .encode(
            x=x,
            y=y,
            color=colour(names, (theme.BLUE, theme.ORANGE)),
            strokeDash=dash(names, ([1, 0], [5, 3])),
        )
    )
    return finish(
        [
            *stage_marks.marks(run.stages, x),
            *_teacher(run, y),
            lines,
            hover(records, _epoch_tips(run), [words for words, _ in told]),
            _ends(run, x, y),
        ],
        f"{run.name}, seed {run.seed}: accuracy",
        "Line chart of the top-1 accuracy over the epochs",
        above=stage_marks.room(run.stages),
    )


def loss_chart(run: Run) -> Chart:
    """The weighted parts of the training loss over the epochs, and their sum."""
    names = _loss_parts(run)
    records = [_epoch(run, entry) | wide([entry["losses"].get(name) for name in names]) for entry in run.metrics]
    x = _x(run)
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
            # A part that pauses for a stage is not joined across it.
            detail="stage:N",
        )
    )
    return finish(
        [*stage_marks.marks(run.stages, x), lines, hover(records, _epoch_tips(run), names, ".4f")],
        f"{run.name}, seed {run.seed}: parts of the loss",
        "Line chart of the loss and its parts over the epochs",
        above=stage_marks.room(run.stages),
    )


def outcome_chart(run: Run) -> Chart:
    """What became of the test samples in each stage from the second on: one bar of 100 percent a stage."""
    segments = [segment for stage in run.stages[1:] for segment in _segments(stage)]
    y = alt.Y("stage:N", title=None, sort=None, axis=alt.Axis(domain=False, ticks=False, grid=False))
    tips = [tip("stage", "Stage", None), tip("series", "Outcome", None)]
    tips += [tip("samples", "Test samples", ","), tip("share", "Share %")]
    words = [word for word, _, _ in OUTCOMES.values()]
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
            color=colour(words, [paint for _, paint, _ in OUTCOMES.values()]),
            tooltip=tips,
        )
    )
    shares = (
        base([segment for segment in segments if segment["share"] >= _LEGIBLE_SHARE])
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
        f"{run.name}, seed {run.seed}: outcome of the test samples",
        "Bar chart of the test samples retained, learned, forgotten and never known in each stage",
        height=_BAR * (len(run.stages) - 1),
    )


def save_svg(chart: Chart, path: str | Path) -> None:
    """Writes a chart as SVG, in light colours on white.

    Args:
        chart: a chart of this package.
        path: the file; its folder is made where it is missing.
    """
    specification = chart.to_dict()
    specification["config"]["background"] = "white"
    svg = vl_convert.vegalite_to_svg(specification, vl_version=vega_lite_version(), allowed_base_urls=[])
    write_text(Path(path), svg)


def vega_lite_version() -> str:
    """The version of Vega-Lite that Altair writes for, as vl_convert calls it: ``6.1``."""
    major, minor, *_ = alt.SCHEMA_VERSION.removeprefix("v").split(".")
    return f"{major}.{minor}"


def _x(run: Run) -> alt.X:
    return epochs(run.metrics[0]["epoch"], run.metrics[-1]["epoch"])


def _epoch(run: Run, entry: Any) -> Record:
    return {
        "epoch": entry["epoch"],
        "stage": stage_label(run.stages[entry["stage"] - 1]),
        "rate": finite(entry.get("learning_rate")),
    }


def _epoch_tips(run: Run) -> list[alt.Tooltip]:
    stage = [tip("stage", "Stage", None)] if len(run.stages) > 1 else []
    return [tip("epoch", "Epoch", "d"), *stage, tip("rate", "Learning rate", ".4~g")]


def _loss_parts(run: Run) -> list[str]:
    """The total, then the parts as they first occur; a part that is zero all along says nothing."""
    seen: dict[str, bool] = {"total": True}
    for entry in run.metrics:
        for name, value in entry["losses"].items():
            seen[name] = seen.get(name, False) or value != 0
    return [name for name, spoken in seen.items() if spoken]


def _logarithmic(run: Run) -> bool:
    """Whether on a linear axis one stage's loss would press another's against the bottom."""
    totals = [(entry["stage"], finite(entry["losses"]["total"])) for entry in run.metrics]
    known = [(stage, total) for stage, total in totals if total is not None]
    ends = dict(known).values()
    negative = any(value < 0 for entry in run.metrics for value in entry["losses"].values())
    return bool(known) and not negative and max(total for _, total in known) > _WIDE * min(ends)


def _loss_axis(logarithmic: bool) -> alt.Y:
    if not logarithmic:
        return alt.Y("value:Q", title="Loss, weighted", scale=alt.Scale(nice=True))
    axis = alt.Axis(tickCount=5, format="~g")
    return alt.Y("value:Q", title="Loss, weighted (log scale)", scale=alt.Scale(type="log"), axis=axis)


def _teacher(run: Run, y: alt.Y) -> list[alt.Chart]:
    teacher = run.summary["teacher"]
    if teacher is None:
        return []
    line = base([{"value": teacher["top1_last"], "text": f"Teacher {percent(teacher['top1_last'])}"}])
    return [
        line.mark_rule(strokeDash=[2, 3], strokeWidth=1.5, color=theme.MUTED).encode(y=y),
        line.mark_text(align="left", baseline="top", dy=4).encode(y=y, x=alt.value(4), text="text:N"),
    ]


def _ends(run: Run, x: alt.X, y: alt.Y) -> alt.Chart:
    """A ring at the best epoch's test accuracy, a dot at the last one's."""
    last = run.metrics[-1]
    best = max(run.metrics, key=lambda entry: float(entry["test_top1"]))
    points = [
        {"epoch": entry["epoch"], "value": entry["test_top1"], "point": word, "filling": filling}
        for entry, word, filling in (
            (best, "best epoch", "transparent"),
            (last, "last epoch", theme.BLUE),
        )
    ]
    tips = [tip("point", "Test", None), tip("epoch", "Epoch", "d"), tip("value", "Top-1 %")]
    marks: alt.Chart = (
        base(points)
        .mark_point(size=64, strokeWidth=2, opacity=1, stroke=theme.BLUE)
        .encode(x=x, y=y, fill=alt.Fill("filling:N", scale=None, legend=None), tooltip=tips)
    )
    return marks


def _segments(stage: Any) -> list[Record]:
    total = sum(stage[key] for key in OUTCOMES)
    start = 0.0
    segments = []
    for key, (word, _, ink) in OUTCOMES.items():
        share = 100.0 * stage[key] / total
        segments.append(
            {
                "stage": stage_label(stage),
                "series": word,
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
