"""Charts that compare recipes."""

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Literal

import altair as alt

from smskd.analysis.compare import Row
from smskd.analysis.format import percent, spread
from smskd.analysis.tables import LONG_NAME
from smskd.report import theme
from smskd.report.marks import (
    Chart,
    Record,
    base,
    colour,
    dash,
    epochs,
    finish,
    hover,
    long,
    percent_scale,
    recipe_axis,
    row_height,
    tip,
    wide,
)


def comparison_chart(rows: Sequence[Row]) -> Chart:
    """Top-1 test accuracy after the last epoch, one line per recipe.

    A diamond is the mean over the seeds, the line through it one standard deviation to either side; dots below it are
    the seeds, the vertical stroke is the teacher.

    Args:
        rows: the comparison.
    """
    named = list(zip([row.label for row in rows], rows, strict=True))
    y = recipe_axis([name for name, _ in named])
    x = alt.X(
        "value:Q",
        title="Top-1 accuracy of the last epoch %",
        scale=percent_scale(_spanned(rows), margin=0.12),
        axis=alt.Axis(grid=True, tickCount=6),
    )
    means = [_mean(name, row) for name, row in named]
    recipe = tip("recipe", "Recipe", None)
    best = [tip("best", "Best epoch by validation", None)] if any(row.top1_best for row in rows) else []
    tips = [recipe, tip("text", "Last epoch", None), *best, tip("seeds", "Seeds", "d")]
    layers = [
        *_teachers(named, x, y),
        base(means).mark_rule(strokeWidth=2, color=theme.BLUE, clip=True).encode(y=y, x=x.copy(), x2="high:Q"),
        base(_seeds(named))
        .mark_circle(size=44, opacity=0.8, color=theme.SKY, yOffset=11)
        .encode(y=y, x=x, tooltip=[recipe, tip("seed", "Seed", "d"), tip("value", "Top-1 %")]),
        base(means)
        .mark_point(shape="diamond", size=110, filled=True, opacity=1, color=theme.BLUE)
        .encode(y=y, x=alt.X("mean:Q"), tooltip=tips),
        base(means).mark_text(dy=-15, color=theme.INK).encode(y=y, x=alt.X("mean:Q"), text="text:N"),
    ]
    return finish(
        layers,
        "Top-1 accuracy of the last epoch",
        "Dot plot of the last epoch's top-1 accuracy for each recipe: every seed and the mean",
        height=row_height(len(rows)) * len(rows),
        right=48,
        long_names=True,
    )


def curves_chart(rows: Sequence[Row]) -> Chart:
    """Top-1 accuracy over the epochs, mean over the seeds, one line per recipe.

    The accuracy is that on the validation split if all runs have one, else that on the test samples.

    Args:
        rows: the comparison.
    """
    names = [row.label for row in rows]
    split = curves_split(rows)
    curves = [_mean_curve(row, f"{split}_top1") for row in rows]
    all_epochs = sorted({epoch for curve in curves for epoch in curve})
    records: list[Record] = [{"epoch": epoch} | wide([curve.get(epoch) for curve in curves]) for epoch in all_epochs]
    x = epochs(all_epochs[0], all_epochs[-1])
    scale = percent_scale(value for curve in curves for value in curve.values())
    lines = (
        base(long(records, names))
        .mark_line()
        .encode(
            x=x,
            y=alt.Y("value:Q", title=f"{split.capitalize()} top-1 accuracy %", scale=scale),
            color=colour(names, theme.colours(len(names))),
            strokeDash=dash(names, theme.dashes(len(names))),
        )
    )
    return finish(
        [lines, hover(records, [tip("epoch", "Epoch", "d")], names)],
        f"{split.capitalize()} accuracy over the epochs, mean over the seeds",
        f"Line chart of the {split} accuracy of each recipe over the epochs",
        long_names=max(map(len, names)) > LONG_NAME,
    )


def curves_split(rows: Sequence[Row]) -> Literal["validation", "test"]:
    """The samples on which the accuracies of :func:`curves_chart` are measured."""
    return "validation" if all(run.has_validation for row in rows for run in row.runs) else "test"


def _spanned(rows: Sequence[Row]) -> Iterator[float | None]:
    for row in rows:
        deviation = row.top1_last.deviation or 0.0
        yield from (*row.top1_last.values, row.teacher_top1)
        yield from (row.top1_last.mean - deviation, row.top1_last.mean + deviation)


def _mean(name: str, row: Row) -> Record:
    deviation = row.top1_last.deviation or 0.0
    return {
        "recipe": name,
        "mean": row.top1_last.mean,
        "value": row.top1_last.mean - deviation,
        "high": row.top1_last.mean + deviation,
        "text": spread(row.top1_last),
        "best": spread(row.top1_best),
        "seeds": len(row.seeds),
    }


def _seeds(named: Sequence[tuple[str, Row]]) -> list[Record]:
    return [
        {"recipe": name, "value": value, "seed": run.seed}
        for name, row in named
        for run, value in zip(row.runs, row.top1_last.values, strict=True)
    ]


def _teachers(named: Sequence[tuple[str, Row]], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    records: list[Record] = [
        {"recipe": name, "value": row.teacher_top1, "teacher": row.teacher}
        for name, row in named
        if row.teacher_top1 is not None
    ]
    if not records:
        return []
    # One label per accuracy: usually all recipes have the same teacher.
    first = {record["value"]: record for record in reversed(records)}.values()
    texts = [{**record, "text": f"Teacher {percent(record['value'])}"} for record in first]
    tips = [tip("teacher", "Teacher", None), tip("value", "Top-1 %")]
    return [
        base(records).mark_tick(thickness=2, size=16, color=theme.MUTED).encode(y=y, x=x, tooltip=tips),
        base(texts).mark_text(dy=17, fontSize=11).encode(y=y, x=x, text="text:N"),
    ]


def _mean_curve(row: Row, key: str) -> dict[int, float]:
    """The mean over the seeds, of the epochs that all of them have; with fewer of them the mean would jump."""
    curves = [{entry["epoch"]: float(entry[key]) for entry in run.metrics} for run in row.runs]
    shared = set.intersection(*(set(curve) for curve in curves))
    return {epoch: fmean(curve[epoch] for curve in curves) for epoch in sorted(shared)}
