"""Times the published pairs of networks with ``smskd bench step`` and writes RESULTS.md."""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from smskd.analysis.format import count, memory, part_name
from smskd.runs.atomic_files import write_text

RESULTS = Path(__file__).parent / "RESULTS.md"
PROGRAM = (sys.executable, "-c", "from smskd.cli import main; main()")


OPTIONS = ("teacher", "student", "method", "stage", "cache", "batch_size", "precision")

TITLES = ["Teacher → student", "Method", "Stage", "Cache", "Batch", "Precision"]


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        teacher, student, method, stage, cache, batch_size, precision: of ``smskd bench step``.
        wanted: the ratio to the plain loop that is aimed at; None: no such aim.
    """

    teacher: str
    student: str
    method: str
    stage: int = 1
    cache: str = "off"
    batch_size: int = 64
    precision: str = "fp32"
    wanted: float | None = None

    @property
    def words(self) -> list[str]:
        """The command's options."""
        options = {name: getattr(self, name) for name in OPTIONS}
        return [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]

    def __str__(self) -> str:
        return (
            f"{self.method}, stage {self.stage}, {self.teacher} to {self.student}, cache {self.cache}, "
            f"batches of {self.batch_size}, {self.precision}"
        )


ROWS = (
    Row("resnet56", "resnet20", "kd", cache="memory", wanted=2.6),
    Row("resnet56", "resnet20", "kd", wanted=1.6),
    Row("resnet56", "resnet20", "kd", stage=2),  # right after the first stage, which its step is compared with
    Row("resnet56", "resnet20", "fitnet", wanted=1.7),
    Row("resnet56", "resnet20", "crd", wanted=6),
    Row("resnet32x4", "resnet8x4", "kd", cache="memory", wanted=2.2),
)

GPU_ROWS = tuple(
    Row("resnet32x4", "resnet8x4", method, stage, cache, batch_size, precision, wanted)
    for batch_size, wanted in ((64, 10), (1024, None))
    for precision in ("fp32", "bf16")
    for method, stage, cache in (("fitnet", 1, "off"), ("kd", 1, "off"), ("kd", 2, "off"), ("kd", 1, "memory"))
)
"""FitNets, then KD; and KD alone."""

SECOND_STAGE = 1.25
"""How many times as long a step of the second stage may take, without a cache."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes; further options go to each ``smskd bench step``."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="Further options go to smskd bench step.")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file (default: RESULTS.md beside this one)")
    parser.add_argument("--gpu", action="store_true", help="the rows for a GPU")
    parser.add_argument("--teacher", help="instead of every row's teacher, to try the table out")
    parser.add_argument("--student", help="likewise")
    known, further = parser.parse_known_args(arguments)
    replaced = {name: value for name in ("teacher", "student") if (value := getattr(known, name))}
    rows, results = GPU_ROWS if known.gpu else ROWS, []
    for row in rows:
        print(row, flush=True)
        results.append(_timed(row, [*further, *(word for name in replaced for word in (f"--{name}", replaced[name]))]))
    write_text(known.out, page(list(zip(rows, results, strict=True)), date.today()))
    print(known.out)


def page(measured: Sequence[tuple[Row, dict[str, Any]]], day: date) -> str:
    """The page, in Markdown.

    Args:
        measured: rows, and what ``smskd bench step`` said of each.
        day: on which that was.
    """
    first = measured[0][1]
    where = first["environment"]
    device = where["device_name"] or f"{where['processor']}, {where['cores']} cores, {where['threads']} threads"
    parts = list(dict.fromkeys(part for _, result in measured for part in result["milliseconds"]))
    lines = [
        "# Benchmarks",
        "",
        f"Measured on {day.isoformat()} by `make bench`: {device}; {where['platform']}; "
        f"Python {where['python']}, PyTorch {where['torch']}.",
        "",
        f"{first['data_size']:,} random pictures of {first['image_size']}x{first['image_size']}, {first['classes']} "
        f"classes; medians of {first['steps']} steps, on a GPU means. "
        "The plain loop is [baseline_loop.py](../src/smskd/bench/baseline_loop.py); its steps and those of `smskd train` are timed in turn, "
        "and the ratio is the median over these turns. "
        "A cache is warm. Memory is what comes on top of the pictures, and of the plain loop's networks, without its "
        "worker processes.",
        "",
        *_table(
            [*TITLES, "Images/s", "Plain loop", "Ratio", "Aim", "Memory", "Plain"],
            4,
            [_line(row, result) for row, result in measured],
        ),
        "",
        *_second_stage(measured),
        "## Where the time of a step goes",
        "",
        "Milliseconds; in brackets those of the plain loop.",
        "",
        *_table(
            [*TITLES, *map(part_name, parts), "step"],
            4,
            [_parts(row, result, parts) for row, result in measured],
        ),
    ]
    return "\n".join(lines) + "\n"


def _timed(row: Row, further: Sequence[str]) -> dict[str, Any]:
    command = [*PROGRAM, "bench", "step", *row.words, *further, "--json", "-"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _name(row: Row, result: dict[str, Any]) -> list[str]:
    networks = f"{result['teacher']} → {result['student']}"
    return [networks, row.method, str(row.stage), row.cache, str(row.batch_size), row.precision]


def _line(row: Row, result: dict[str, Any]) -> list[str]:
    plain = result["plain"]
    return [
        *_name(row, result),
        count(result["images_per_second"]),
        count(plain["images_per_second"]),
        f"**{result['ratio']:.2f}**",
        "" if row.wanted is None else f"≥ {row.wanted:g}",
        memory(result["peak_memory_bytes"]),
        memory(plain["peak_memory_bytes"]),
    ]


def _parts(row: Row, result: dict[str, Any], parts: Sequence[str]) -> list[str]:
    def beside(ours: float | None, theirs: float | None) -> str:
        return " ".join(([f"{ours:.1f}"] if ours is not None else []) + ([f"({theirs:.1f})"] if theirs else []))

    plain = result["plain"]
    own = [beside(result["milliseconds"].get(part), plain["milliseconds"].get(part)) for part in parts]
    return [*_name(row, result), *own, beside(result["step_milliseconds"], plain["step_milliseconds"])]


def _second_stage(measured: Sequence[tuple[Row, dict[str, Any]]]) -> list[str]:
    """What the reference adds to a step, of each second stage whose first was timed too."""
    steps = {_without_aim(row): result for row, result in measured}
    lines = []
    for row, result in measured:
        before = steps.get(replace(_without_aim(row), stage=1))
        if row.stage == 2 and before is not None:
            times = result["step_milliseconds"] / before["step_milliseconds"]
            lines += [
                f"A step of the second stage of {row.method} in batches of {row.batch_size}, {row.precision}, takes "
                f"**{times:.2f}** times as long as one of the first (aim: ≤ {SECOND_STAGE:g}).",
                "",
            ]
    return lines


def _without_aim(row: Row) -> Row:
    return replace(row, wanted=None)


def _table(titles: Sequence[str], words: int, rows: Sequence[Sequence[str]]) -> list[str]:
    """A table whose columns after the first ``words`` hold numbers."""
    rule = ["---" if place < words else "---:" for place in range(len(titles))]
    return [f"| {' | '.join(cells)} |" for cells in (titles, rule, *rows)]


if __name__ == "__main__":
    main()
