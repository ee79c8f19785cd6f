"""Times the published pairs of networks with ``smskd bench step`` and writes the page of results."""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from results_page import CASE_KEYS, case_key, page

from smskd.runs.atomic_files import write_text

RESULTS = Path(__file__).parent / "RESULTS.md"
PROGRAM = (sys.executable, "-c", "from smskd.cli import main; main()")


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        teacher, student, method, stage, cache, batch_size, precision: options of ``smskd bench step``.
        aim: the ratio to the baseline loop that is aimed at; None: no aim.
    """

    teacher: str
    student: str
    method: str
    stage: int = 1
    cache: str = "off"
    batch_size: int = 64
    precision: str = "fp32"
    aim: float | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """The options, in the order of ``CASE_KEYS``."""
        return tuple(getattr(self, name) for name in CASE_KEYS)

    @property
    def arguments(self) -> list[str]:
        """The options as arguments of the command line."""
        options = zip(CASE_KEYS, self.key, strict=True)
        return [word for name, value in options for word in (f"--{name.replace('_', '-')}", str(value))]

    def __str__(self) -> str:
        return (
            f"{self.method}, stage {self.stage}, {self.teacher} to {self.student}, cache {self.cache}, "
            f"batches of {self.batch_size}, {self.precision}"
        )


ROWS = (
    Row("resnet56", "resnet20", "kd", cache="memory", aim=2.6),
    Row("resnet56", "resnet20", "kd", aim=1.6),
    Row("resnet56", "resnet20", "kd", stage=2),  # right after the first stage, which its step is compared with
    Row("resnet56", "resnet20", "fitnet", aim=1.7),
    Row("resnet56", "resnet20", "crd"),  # compared with kd
    Row("resnet32x4", "resnet8x4", "kd", cache="memory", aim=2.2),
)

GPU_ROWS = tuple(
    Row("resnet32x4", "resnet8x4", method, stage, cache, batch_size, precision, aim)
    for batch_size, aim in ((64, 10), (1024, None))
    for precision in ("fp32", "bf16")
    for method, stage, cache in (("fitnet", 1, "off"), ("kd", 1, "off"), ("kd", 2, "off"), ("kd", 1, "memory"))
)
"""FitNets, then KD; and KD alone."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures the rows, or reads results measured before, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="Further options go to smskd bench step.")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the page (default: RESULTS.md beside this file)")
    parser.add_argument("--gpu", action="store_true", help="measure the rows for a GPU")
    parser.add_argument("--from", type=Path, dest="source", help="measure nothing; read the results from this JSON")
    parser.add_argument("--json", type=Path, help="write the results to this file too, for --from")
    parser.add_argument("--notes", type=Path, help="a Markdown file put at the end of the page")
    parser.add_argument("--teacher", help="replaces the teacher of every row, to try the table out")
    parser.add_argument("--student", help="replaces the student of every row")
    known, further = parser.parse_known_args(arguments)
    rows = GPU_ROWS if known.gpu else ROWS
    if known.source:
        results = json.loads(known.source.read_text(encoding="utf-8"))
        measured = [(result, _aim(result)) for result in results]
        source = f"Made by `benchmarks/table.py` from [{known.source.name}]({known.source.name})"
    else:
        for name in ("teacher", "student"):
            further += [f"--{name}", replacement] if (replacement := getattr(known, name)) else []
        measured = [(_timed(row, further), row.aim) for row in rows]
        source = f"Measured on {date.today().isoformat()} by `make {'bench-gpu' if known.gpu else 'bench'}`"
    if known.json:
        write_text(known.json, json.dumps([result for result, _ in measured], indent=1) + "\n")
    write_text(known.out, page(measured, source, known.notes.read_text(encoding="utf-8") if known.notes else ""))
    print(known.out)


def _aim(result: dict[str, Any]) -> float | None:
    """The aim of the row that a result belongs to; None where there is no such row."""
    rows = GPU_ROWS if result["environment"]["device_name"] else ROWS
    return next((row.aim for row in rows if row.key == case_key(result)), None)


def _timed(row: Row, further: Sequence[str]) -> dict[str, Any]:
    """The result of ``smskd bench step`` for a row; ends the program with its exit code where that fails."""
    print(row, flush=True)
    command = [*PROGRAM, "bench", "step", *row.arguments, *further, "--json", "-"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main()
