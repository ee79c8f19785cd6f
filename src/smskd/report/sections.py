"""The tables of the page, prepared for its templates: one section per run, and the comparison."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from smskd.analysis import format as text
from smskd.analysis.compare import Row
from smskd.analysis.tables import columns, common, explanations, phrases
from smskd.report.charts import run_charts
from smskd.report.figure import Analysis
from smskd.report.marks import Record, stage_label
from smskd.runs.reader import Run, training_seconds


def run_section(key: str, run: Run, analysis: Analysis | None = None) -> Record:
    """The variables of ``run.html.j2`` for a run.

    Args:
        key: unique on the page; identifiers of elements begin with it.
        run: a finished run.
        analysis: that is shown as well.
    """
    charts = run_charts(run) | {figure.name: figure.chart for figure in (analysis.figures if analysis else ())}
    return {
        "key": key,
        "label": run.name,
        "run": run,
        "summary": run.summary,
        "seconds": training_seconds(run.summary),
        "stored": sum(bool(stage.get("stored")) for stage in run.stages),
        "charts": {f"{key}-{name}": chart for name, chart in charts.items()},
        "analysis": analysis,
        "measures": list(_measures(run)),
        "pretraining": list(_pretraining(run)),
        "costs": _costs(run),
        "best": run.best(),
        "recipe": yaml.safe_dump(dict(run.recipe), sort_keys=False, allow_unicode=True),
        "environment": dict(_flat(run.environment)),
        "notes": [*run.summary.get("notes", ()), *run.problems],
    }


def comparison_section(rows: Sequence[Row]) -> Record:
    """The variables of the comparison in ``page.html.j2``."""
    shared = common(rows)
    shown = [column for column in columns(rows) if column.title not in shared]
    return {
        "title": f"{rows[0].label}, {len(rows[0].runs)} seeds" if len(rows) == 1 else f"{len(rows)} recipes compared",
        "common": phrases(shared),
        "columns": shown,
        "rows": [[column.text(row) for column in shown] for row in rows],
        "baselines": list(dict.fromkeys(row.baseline for row in rows if row.baseline is not None)),
        "with_best": any(row.top1_best is not None for row in rows),
        "with_plain": any(row.over_plain is not None for row in rows),
        "with_forgotten": any(row.forgotten is not None for row in rows),
        "several_seeds": any(len(row.runs) > 1 for row in rows),
        "explanations": explanations(rows),
    }


def _measures(run: Run) -> Iterator[tuple[str, str, str, str]]:
    """The rows of the headline table: measure, teacher, student, difference or ratio."""
    student, teacher = run.summary["student"], run.summary["teacher"] or {}

    def accuracy(words: str, teacher_key: str, key: str) -> tuple[str, str, str, str]:
        ours, theirs = student.get(key), teacher.get(teacher_key)
        gap = None if ours is None or theirs is None else ours - theirs
        return words, text.percent(theirs), text.percent(ours), text.difference(gap)

    def size(words: str, key: str) -> tuple[str, str, str, str]:
        ours, theirs = student.get(key), teacher.get(key)
        return words, text.count(theirs), text.count(ours), _times(theirs, ours, "smaller")

    yield accuracy("Top-1, last epoch %", "top1_last", "top1_last")
    if student["top1_best"] is not None:
        yield accuracy("Top-1, best epoch by validation %", "top1_last", "top1_best")
    if student.get("top1", student["top1_last"]) != student["top1_last"]:
        # The saved weights need not be those of the last epoch, but of the best one or of the moving average.
        yield accuracy("Top-1, saved weights %", "top1_last", "top1")
    if student.get("top5_last") is not None:
        yield accuracy("Top-5, last epoch %", "top5_last", "top5_last")
    yield size("Parameters", "parameters")
    yield size("MACs per image", "macs")
    for batch, words in (("1", "Latency, 1 image"), ("64", "Latency, 64 images")):
        ours, theirs = ((network.get("latency_milliseconds") or {}).get(batch) for network in (student, teacher))
        if ours is not None:
            yield words, text.milliseconds(theirs), text.milliseconds(ours), _times(theirs, ours, "faster")


def _times(teacher: float | None, student: float | None, comparative: str) -> str:
    """``3.49× smaller``."""
    ratio = text.ratio(teacher, student)
    return ratio if ratio == text.NONE else f"{ratio} {comparative}"


def _pretraining(run: Run) -> Iterator[tuple[str, str, str, str, str]]:
    """The rows of the table of pretraining phases: stage, method, epochs, first and last loss."""
    phases: dict[tuple[int, str], list[Mapping[str, Any]]] = {}
    for entry in run.pretraining:
        phases.setdefault((entry["stage"], entry["method"]), []).append(entry)
    for (stage, method), entries in phases.items():
        first, last = (f"{entry['losses']['total']:.4g}" for entry in (entries[0], entries[-1]))
        yield str(stage), method, str(len(entries)), first, last


def _costs(run: Run) -> Record | None:
    """The cost of a step in each stage, one row per part; None if it was not measured."""
    measured = [(stage, stage["cost"]) for stage in run.stages if stage.get("cost")]
    parts = dict.fromkeys(part for _, cost in measured for part in cost["milliseconds"])
    shown = [part for part in parts if any(cost["milliseconds"].get(part) for _, cost in measured)]
    if not shown:
        return None
    costs = [cost for _, cost in measured]
    return {
        "stages": [stage_label(stage) for stage, _ in measured],
        "parts": [
            (text.part_name(part), [text.milliseconds(cost["milliseconds"].get(part) or None) for cost in costs])
            for part in shown
        ],
        "step": [text.milliseconds(cost["step_milliseconds"]) for cost in costs],
        "speed": [text.count(cost["images_per_second"]) for cost in costs],
        "memory": [text.memory(cost["peak_memory_bytes"]) for cost in costs],
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, bool):
            yield f"{prefix}{key}", "yes" if value else "no"
        elif value is not None:
            yield f"{prefix}{key}", str(value)
