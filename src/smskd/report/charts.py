"""Charts of runs. Each is one Vega-Lite specification, for the page, for a notebook and for SVG alike."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import altair as alt
import vl_convert

from smskd.analysis.compare import Row, labels
from smskd.analysis.runs import Run
from smskd.analysis.wording import percent, spread
from smskd.report import theme
from smskd.report.atomic import write_text

Chart = alt.LayerChart
Record = dict[str, Any]

WIDTH, HEIGHT = 680, 300
OUTCOMES = {
    "retained": ("Retained", theme.BLUE),
    "learned": ("Learned", theme.GREEN),
    "forgotten": ("Forgotten", theme.ORANGE),
    "never_known": ("Never known", theme.GREY),
}
"""What became of a test sample in a stage: the summary's key, the word for it, its colour."""

_NARROW = 270
"""Width in pixels of the plot on a phone, for which the stages' labels are laid out."""
_LABEL_ROW = 16


def run_charts(run: Run) -> dict[str, Chart]:
    """All charts of a run by the name of their file; ``outcomes`` only where there are several stages."""
    charts = {"accuracy": accuracy_chart(run), "losses": loss_chart(run)}
    return charts | ({"outcomes": outcome_chart(run)} if len(run.stages) > 1 else {})


def accuracy_chart(run: Run) -> Chart:
    """Top-1 accuracy of the training and test samples over the epochs, the teacher's beside it."""
    names = ("Test", "Train")
    wide = [
        {
            "epoch": entry["epoch"],
            "Test": _finite(entry["test_top1"]),
            "Train": _finite(entry["train_top1"]),
            "stage": _stage_label(run.stages[entry["stage"] - 1]),
            "rate": entry.get("learning_rate"),
            "top5": _finite(entry.get("test_top5")),
        }
        for entry in run.metrics
    ]
    tips = [("epoch", "Epoch"), ("stage", "Stage"), ("Test", "Test top-1 %"), ("Train", "Train top-1 %")]
    tips += [("top5", "Test top-5 %")] if any(row["top5"] is not None for row in wide) else []
    x = _epochs(run)
    y = alt.Y("value:Q", title="Top-1 accuracy %", scale=alt.Scale(zero=False, nice=True, padding=6))
    lines = (
        _chart(_long(wide, names))
        .mark_line()
        .encode(
            x=x,
            y=y,
            color=_colour(names, (theme.BLUE, theme.ORANGE)),
            strokeWidth=alt.StrokeWidth(
                "series:N", legend=None, scale=alt.Scale(domain=list(names), range=[2.5, 1.5])
            ),
        )
    )
    ends = (
        _chart(_turning_points(wide))
        .mark_point(size=60, strokeWidth=2, opacity=1, color=theme.BLUE)
        .encode(
            x=x,
            y=y,
            fill=alt.Fill(
                "point:N",
                legend=None,
                scale=alt.Scale(domain=["Last epoch", "Best epoch"], range=[theme.BLUE, "transparent"]),
            ),
            tooltip=[_tip("point", "", None), _tip("epoch", "Epoch", None), _tip("value", "Test top-1 %")],
        )
    )
    layers = [*_stage_marks(run, x), *_teacher_line(run, y), lines, _hover(wide, x, tips), ends]
    return _finish(layers, f"{run.name}: accuracy, seed {run.seed}", "Top-1 accuracy over the epochs")


def loss_chart(run: Run) -> Chart:
    """The weighted parts of the training loss over the epochs, and their sum."""
    parts = _loss_parts(run)
    wide = [
        {
            "epoch": entry["epoch"],
            "stage": _stage_label(run.stages[entry["stage"] - 1]),
            "rate": entry.get("learning_rate"),
            **{_word(name): _finite(value) for name, value in entry["losses"].items()},
        }
        for entry in run.metrics
    ]
    words = [_word(part) for part in parts]
    x = _epochs(run)
    lines = (
        _chart(_long(wide, words))
        .mark_line()
        .encode(
            x=x,
            y=alt.Y("value:Q", title="Loss, weighted", scale=alt.Scale(nice=True)),
            color=_colour(words, (theme.GREY, *theme.cycle(theme.PALETTE, len(words) - 1))),
            strokeDash=alt.StrokeDash(
                "series:N",
                legend=None,
                scale=alt.Scale(domain=words, range=[[1, 0], *theme.dashes(len(words) - 1)]),
            ),
            # A part that pauses for a stage is not joined across it.
            detail="stage:N",
        )
    )
    tips = [("epoch", "Epoch"), ("stage", "Stage"), *((word, word) for word in words)]
    layers = [*_stage_marks(run, x), lines, _hover(wide, x, tips, number=".4f")]
    return _finish(layers, f"{run.name}: loss parts, seed {run.seed}", "Loss parts over the epochs")


def outcome_chart(run: Run) -> Chart:
    """What became of the test samples in each stage from the second on, as shares of one bar a stage."""
    records = []
    for stage in run.stages[1:]:
        total = sum(stage[key] for key in OUTCOMES)
        start = 0.0
        for key, (word, _) in OUTCOMES.items():
            share = 100.0 * stage[key] / total
            records.append(
                {
                    "stage": _stage_label(stage),
                    "outcome": word,
                    "samples": stage[key],
                    "start": start,
                    "end": start + share,
                    "middle": start + share / 2,
                    "share": share,
                    # A label that its segment is too narrow for would stand in the neighbour's.
                    "text": f"{share:.1f}" if share >= 9 else "",
                }
            )
            start += share
    words, colours = zip(*OUTCOMES.values(), strict=True)
    base = _chart(records).encode(
        y=alt.Y("stage:N", title=None, sort=None, axis=alt.Axis(domain=False, ticks=False, labelLimit=130)),
        tooltip=[
            _tip("stage", "Stage", None),
            _tip("outcome", "Outcome", None),
            _tip("samples", "Test samples", ","),
            _tip("share", "Share %"),
        ],
    )
    bars = base.mark_bar(height=24, stroke=None).encode(
        x=alt.X("start:Q", title="Test samples %", scale=alt.Scale(domain=[0, 100])),
        x2="end:Q",
        color=_colour(words, colours),
    )
    # White on the light theme's colours, black on the dark one's: the page exchanges it as any colour.
    text = base.mark_text(color=theme.ON_COLOUR, fontWeight=600).encode(x="middle:Q", text="text:N")
    return _finish(
        [bars, text],
        f"{run.name}: outcome of the test samples, seed {run.seed}",
        "Test samples retained, learned, forgotten and never known by each stage",
        height=alt.Step(38),
    )


def comparison_chart(rows: Sequence[Row]) -> Chart:
    """Top-1 accuracy of the last epoch: each seed, the mean over the seeds, and the teacher, one line a recipe."""
    named = list(zip(labels(rows), rows, strict=True))
    names = [name for name, _ in named]
    seeds = [
        {"recipe": name, "value": value, "seed": run.seed}
        for name, row in named
        for run, value in zip(row.runs, row.top1_last.values, strict=True)
    ]
    means = [
        {
            "recipe": name,
            "value": row.top1_last.mean,
            "low": row.top1_last.mean - (row.top1_last.deviation or 0.0),
            "high": row.top1_last.mean + (row.top1_last.deviation or 0.0),
            "text": spread(row.top1_last),
            "best": spread(row.top1_best),
            "seeds": len(row.seeds),
        }
        for name, row in named
    ]
    y = alt.Y(
        "recipe:N",
        title=None,
        scale=alt.Scale(domain=names),
        axis=alt.Axis(domain=False, ticks=False, grid=True, labelLimit=150),
    )
    x = alt.X(
        "value:Q",
        title="Top-1 accuracy of the last epoch, %",
        scale=alt.Scale(zero=False, nice=True, padding=12),
        axis=alt.Axis(grid=True),
    )
    tips = [
        _tip("recipe", "Recipe", None),
        _tip("text", "Mean ± sd", None),
        _tip("best", "Best epoch", None),
        _tip("seeds", "Seeds", None),
    ]
    span = _chart(means).mark_rule(strokeWidth=2, color=theme.BLUE).encode(y=y, x="low:Q", x2="high:Q")
    dots = (
        _chart(seeds)
        .mark_circle(size=44, opacity=0.55, color=theme.SKY)
        .encode(y=y, x=x, tooltip=[tips[0], _tip("seed", "Seed", "d"), _tip("value", "Top-1 %")])
    )
    mean = (
        _chart(means)
        .mark_point(shape="diamond", size=110, filled=True, opacity=1, color=theme.BLUE)
        .encode(y=y, x=x, tooltip=tips)
    )
    text = _chart(means).mark_text(dy=-14, color=theme.INK).encode(y=y, x=x, text="text:N")
    layers = [*_teacher_ticks(named, x, y), span, dots, mean, text]
    return _finish(layers, "Comparison", "Top-1 accuracy of each recipe over its seeds", height=alt.Step(44))


def curves_chart(rows: Sequence[Row]) -> Chart:
    """Test accuracy over the epochs for each recipe: the mean over its seeds, within the range of them."""
    named = list(zip(labels(rows), rows, strict=True))
    names = [name for name, _ in named]
    records = [point for name, row in named for point in _mean_curve(name, row)]
    x = alt.X("epoch:Q", title="Epoch", axis=_epoch_axis(), scale=alt.Scale(nice=False, zero=False))
    scale = alt.Scale(zero=False, nice=True, padding=6)
    colour = _colour(names, theme.cycle(theme.PALETTE, len(names)))
    band = (
        _chart(records)
        .mark_area(opacity=0.15)
        .encode(x=x, y=alt.Y("low:Q", title="Test top-1 accuracy %", scale=scale), y2="high:Q", color=colour)
    )
    lines = (
        _chart(records)
        .mark_line()
        .encode(
            x=x,
            y=alt.Y("value:Q", title="Test top-1 accuracy %", scale=scale),
            color=colour,
            strokeDash=alt.StrokeDash(
                "recipe:N", legend=None, scale=alt.Scale(domain=names, range=theme.dashes(len(names)))
            ),
        )
    )
    colour.shorthand = "recipe:N"
    wide: dict[int, Record] = {}
    for record in records:
        wide.setdefault(record["epoch"], {"epoch": record["epoch"]})[record["recipe"]] = record["value"]
    tips = [("epoch", "Epoch"), *((name, name) for name in names)]
    layers = [band, lines, _hover(list(wide.values()), x, tips)]
    return _finish(layers, "Test accuracy, mean over seeds", "Test accuracy of each recipe over the epochs")


def specification(chart: Chart) -> Record:
    """The chart as a Vega-Lite specification."""
    return chart.to_dict()


def save_svg(chart: Chart, path: str | Path) -> None:
    """Writes a chart as SVG, light, on a white ground.

    Args:
        path: the file; its folder is made where it is missing.
    """
    spec = specification(chart)
    spec["config"]["background"] = "white"
    write_text(Path(path), vl_convert.vegalite_to_svg(spec, vl_version=vega_lite_version()))


def vega_lite_version() -> str:
    """The version of Vega-Lite that Altair writes for, as vl_convert names it: ``6.1``."""
    major, minor, *_ = alt.SCHEMA_VERSION.removeprefix("v").split(".")
    return f"{major}.{minor}"


def methods_words(stage: Mapping[str, Any]) -> str:
    """The methods of a stage in words: ``at + sp``, ``plain``."""
    return " + ".join(stage["methods"]) or "plain"


def _chart(records: Sequence[Record]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=list(records)))


def _finish(layers: Sequence[alt.Chart], title: str, description: str, height: Any = HEIGHT) -> Chart:
    return (
        alt.layer(*layers)
        .properties(title=title, description=description, width=WIDTH, height=height)
        .configure(**theme.config())
    )


def _long(wide: Sequence[Record], names: Sequence[str]) -> list[Record]:
    return [
        {"epoch": row["epoch"], "stage": row["stage"], "series": name, "value": row[name]}
        for row in wide
        for name in names
        if row.get(name) is not None
    ]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _colour(names: Sequence[str], colours: Sequence[str], field: str = "series") -> alt.Color:
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=list(names), range=list(colours)))


def _tip(field: str, title: str, number: str | None = ".2f") -> alt.Tooltip:
    kind = "N" if number is None else "Q"
    return alt.Tooltip(_escaped(field), type="nominal" if kind == "N" else "quantitative", title=title or " ")
