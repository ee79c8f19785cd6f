"""What only a GPU can show, within a limit of time, the most telling first; started again, it goes on.

    python benchmarks/gpu.py "data.source={name: parquet, root: FOLDER}"

The GPU tests; ``make bench-gpu``; eight seeds beside each other, after a teacher for them; a whole run of two stages on
CIFAR-10; the evidence of evidence.py. Arguments that are no options are changes to the recipes on CIFAR-10. Written are
RESULTS-gpu.md, the page of evidence.py and the part of REPRODUCTION.md on a GPU.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from timed_parts import Outcome, Part, run_parts

from smskd.runs.atomic_files import write_text

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "RESULTS-gpu.md"
REPRODUCTION = ROOT / "REPRODUCTION.md"
BEGIN, END = "<!-- generated: gpu -->\n", "<!-- end of generated: gpu -->\n"
BESIDE = "side_by_side.json"
PROGRAM = (sys.executable, "-m", "smskd")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the parts and writes the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("changes", nargs="*", metavar="KEY.PATH=VALUE", help="changes to the recipes on CIFAR-10")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="the folder of logs and runs")
    parser.add_argument("--limit", type=float, default=720, help="seconds for everything (default: 720)")
    known = parser.parse_intermixed_args(arguments)
    outcomes = run_parts(parts_of(known.out.resolve(), known.changes), known.out / "parts", known.limit)
    section = section_of(outcomes, known.out.resolve(), known.changes)
    write_text(REPRODUCTION, with_section(REPRODUCTION.read_text(encoding="utf-8"), section))
    print(REPRODUCTION)


def parts_of(out: Path, changes: Sequence[str]) -> list[Part]:
    """The parts, the most telling first.

    Args:
        out: the folder of the runs.
        changes: to the recipes on CIFAR-10.
    """
    python = sys.executable
    teacher, whole = out / "teacher", out / "whole"
    bf16 = "runtime.precision=bf16"
    return [
        Part("tests", [python, "-m", "pytest", "-p", "no:cacheprovider", "tests/training/test_gpu.py"], 150, ROOT),
        Part("bench", [python, "benchmarks/table.py", "--gpu", "--out", str(RESULTS), "--steps=128"], 180, ROOT),
        Part("teacher", [*PROGRAM, "train", "cifar10/teachers/resnet20", "--out", str(teacher), bf16, *changes], 300),
        Part(
            "beside",
            [
                python, "benchmarks/side_by_side.py", "--out", str(out / BESIDE), "--runs=8", "--student=resnet8x4",
                "--teacher-name=resnet20", f"--teacher-weights={teacher}", "--precision=bf16",
                *(change for change in changes if change.startswith("data.")),
            ],
            120,
            ROOT,
        ),
        Part(
            "whole",
            [
                *PROGRAM, "train", "cifar10/resnet20-resnet8", "--out", str(whole), f"teacher.weights={teacher}",
                "teacher.cache.mode=disk", bf16, *changes,
            ],
            420,
        ),
        Part("evidence", [python, "benchmarks/evidence.py", "--out", str(out / "evidence"), *changes], 720, ROOT),
    ]  # fmt: skip


def section_of(outcomes: Sequence[Outcome], out: Path, changes: Sequence[str]) -> str:
    """The part of REPRODUCTION.md: what was reached, and the whole run if it is finished."""
    command = " ".join(["python benchmarks/gpu.py", *(f'"{change}"' for change in changes)])
    lines = [f"`{command}`:", "", *(f"- {outcome}" for outcome in outcomes)]
    summary = out / "whole" / "summary.json"
    if (out / BESIDE).exists():
        beside = json.loads((out / BESIDE).read_text(encoding="utf-8"))
        lines += [
            "",
            f"{beside['runs']} seeds beside each other take {beside['ratio']:.1f} times as long as one: KD with a warm "
            "cache, resnet20→resnet8x4, bf16.",
        ]
    if summary.exists():
        found = json.loads(summary.read_text(encoding="utf-8"))
        lines += [
            "",
            f"FitNets, then KD, resnet20→resnet8 on CIFAR-10, {found['epochs']} epochs in "
            f"{found['seconds'] / 60:.1f} minutes: top-1 {found['student']['top1_last']:.2f}.",
        ]
    return "\n".join(lines) + "\n"


def with_section(page: str, section: str) -> str:
    """The page with its generated part replaced, or with a new one at its end."""
    made = f"{BEGIN}{section}{END}"
    if BEGIN in page:
        return re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: made, page, flags=re.DOTALL)
    return f"{page.rstrip()}\n\n## On a GPU\n\n{made}"


if __name__ == "__main__":
    main()
