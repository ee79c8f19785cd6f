"""The Markdown page of the benchmarks, made from the results of ``smskd bench step``."""

from collections.abc import Mapping, Sequence
from typing import Any

from smskd.analysis.format import count, memory, part_name

CASE_KEYS = ("teacher", "student", "method", "stage", "cache", "batch_size", "precision")
"""The keys of a result that name the case; they are the options of ``smskd bench step`` too."""

CASE_TITLES = ("Teacher → student", "Method", "Stage", "Cache", "Batch", "Precision")

SECOND_STAGE_AIM = 1.25
"""The duration of a step of the second stage that is aimed at, without a cache, in steps of the first stage."""

CRD_AIM = 0.85
"""The images per second of CRD that are aimed at, as a share of those of KD with the same settings."""

Result = Mapping[str, Any]
Measured = Sequence[tuple[Result, float | None]]
"""Results, each with the ratio to the baseline loop that is aimed at, or None."""


def page(measured: Measured, source: str, notes: str = "") -> str:
    """The page, in Markdown.

    Args:
        measured: at least one result, all of the same machine; the order is that of the tables.
        source: when and with which command the results were measured, or their file, as a part of a sentence.
        notes: Markdown put at the end of the page.
    """
    results = [result for result, _ in measured]
    sections: list[list[str]] = [
        ["# Benchmarks"],
        [f"{source}: {_machine(results[0]['environment'])}."],
        [_explanation(results)],
        _table((*CASE_TITLES, "Images/s", "Baseline loop", "Ratio", "Aim", "Memory", "Baseline"), _speeds(measured)),
        *([line] for line in (*_second_stages(results), *_shares_of_crd(results))),
        ["## Time of a step by part"],
        ["Milliseconds; those of the baseline loop in brackets."],
        _table((*CASE_TITLES, *map(part_name, _parts(results)), "step"), _times(results)),
        *([[notes.rstrip()]] if notes else []),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def case_key(result: Result) -> tuple[Any, ...]:
    """The teacher, student, method, stage, cache, batch size and precision of a result."""
    return tuple(result[key] for key in CASE_KEYS)


def _machine(environment: Mapping[str, Any]) -> str:
    cores, threads = environment["cores"], environment["threads"]
    device = environment["device_name"] or f"{environment['processor']}, {cores} cores, {threads} threads"
    return f"{device}; {environment['platform']}; Python {environment['python']}, PyTorch {environment['torch']}"


def _explanation(results: Sequence[Result]) -> str:
    first = results[0]
    average = "means" if first["environment"]["device_name"] else "medians"
    steps = " or ".join(str(number) for number in sorted({result["steps"] for result in results}))
    size = first["image_size"]
    return (
        f"{first['data_size']:,} random images of {size}x{size}, {first['classes']} classes; {average} over {steps} "
        "steps. The baseline loop is [baseline_loop.py](../src/smskd/bench/baseline_loop.py); its steps and those of "
        "`smskd train` are timed in turn, and the ratio is the median over these turns. A cache is filled before its "
        "steps are timed. Memory is the peak above the memory that is in use before: by the images and, for the "
        "baseline loop, by its networks; its worker processes are not included."
    )


def _case(result: Result) -> list[str]:
    tf32 = result["precision"] == "fp32" and result["environment"]["device_name"] and result["environment"]["tf32"]
    return [
        f"{result['teacher']} → {result['student']}",
        *(str(result[key]) for key in CASE_KEYS[2:-1]),
        "fp32 (TF32)" if tf32 else result["precision"],
    ]


def _speeds(measured: Measured) -> list[list[str]]:
    return [
        [
            *_case(result),
            count(result["images_per_second"]),
            count(result["baseline"]["images_per_second"]),
            f"**{result['ratio']:.2f}**",
            "" if aim is None else f"≥ {aim:g}",
            memory(result["peak_memory_bytes"]),
            memory(result["baseline"]["peak_memory_bytes"]),
        ]
        for result, aim in measured
    ]


def _times(results: Sequence[Result]) -> list[list[str]]:
    def both(own: float | None, baseline: float | None) -> str:
        texts = [f"{own:.1f}"] if own is not None else []
        return " ".join([*texts, f"({baseline:.1f})"] if baseline else texts)

    return [
        [
            *_case(result),
            *(
                both(result["milliseconds"].get(part), result["baseline"]["milliseconds"].get(part))
                for part in _parts(results)
            ),
            both(result["step_milliseconds"], result["baseline"]["step_milliseconds"]),
        ]
        for result in results
    ]


def _parts(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(part for result in results for part in result["milliseconds"]))


def _second_stages(results: Sequence[Result]) -> list[str]:
    """A sentence for each second stage whose first stage was timed too: the ratio of their steps' durations."""
    steps = {case_key(result): result["step_milliseconds"] for result in results}
    lines = []
    for result in results:
        first = steps.get(case_key({**result, "stage": 1}))
        if result["stage"] == 2 and first is not None:
            lines.append(
                f"A step of the second stage of {result['method']} in batches of {result['batch_size']}, "
                f"{result['precision']}, takes **{result['step_milliseconds'] / first:.2f}** times as long as one of "
                f"the first (aim: ≤ {SECOND_STAGE_AIM:g})."
            )
    return lines


def _shares_of_crd(results: Sequence[Result]) -> list[str]:
    """A sentence for each result of CRD beside one of KD with the same settings: the ratio of their speeds."""
    speeds = {case_key(result): result["images_per_second"] for result in results}
    lines = []
    for result in results:
        kd = speeds.get(case_key({**result, "method": "kd"}))
        if result["method"] == "crd" and kd is not None:
            share = result["images_per_second"] / kd
            lines.append(
                f"crd in batches of {result['batch_size']}, {result['precision']}, trains **{share:.2f}** times "
                f"as many images per second as kd (aim: ≥ {CRD_AIM:g})."
            )
    return lines


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table; the first four columns hold text, the others numbers."""
    rule = ["---" if place < 4 else "---:" for place in range(len(titles))]
    return [f"| {' | '.join(cells)} |" for cells in (titles, rule, *rows)]
