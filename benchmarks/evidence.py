"""Sequences against joint distillation on the whole of CIFAR-10, at full length; within a limit of time, and resumable.

    python benchmarks/evidence.py "data.source={name: parquet, root: FOLDER}"

Arguments that are no options are changes to the recipes of teachers and students. What is finished is in the table of
the page; started again, the program goes on.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from timed_parts import Outcome, Part, run_parts

from smskd.runs.atomic_files import write_text

PROGRAM = (sys.executable, "-m", "smskd")
PAGE = Path(__file__).parent / "EVIDENCE-gpu.md"
TEACHERS = ("cifar10/teachers/resnet20", "cifar10/teachers/resnet56")
SWEEP = "cifar10/evidence"


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains the teachers, then the sweep, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("changes", nargs="*", metavar="KEY.PATH=VALUE", help="changes to all recipes")
    parser.add_argument("--out", type=Path, default=Path("runs/evidence"), help="the folder of the runs")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page that is written")
    parser.add_argument("--limit", type=float, default=720, help="seconds for everything (default: 720)")
    parser.add_argument("--workers", type=int, default=1, help="processes that train runs of the sweep")
    parser.add_argument("--sweep", default=SWEEP, help="a sweep; its recipes find the teachers in OUT/<name>")
    parser.add_argument("--teachers", nargs="*", default=TEACHERS, help="recipes of the teachers")
    known = parser.parse_intermixed_args(arguments)
    out: Path = known.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    parts = [
        Part(
            Path(name).name, [*PROGRAM, "train", name, "--out", str(out / Path(name).name), *known.changes], known.limit
        )
        for name in known.teachers
    ]
    sweep = [*PROGRAM, "sweep", known.sweep, "--out", str(out / "sweep"), *known.changes]
    parts.append(Part("sweep", [*sweep, "--workers", str(known.workers)], known.limit, out))
    outcomes = run_parts(parts, out / "parts", known.limit)
    table = subprocess.run([*sweep, "--table"], cwd=out, capture_output=True, text=True, check=False)
    command = " ".join(["python benchmarks/evidence.py", *(f'"{change}"' for change in known.changes)])
    write_text(known.page, page(command, outcomes, table.stdout if table.returncode == 0 else ""))
    print(known.page)


def page(command: str, outcomes: Sequence[Outcome], table: str) -> str:
    """The page: what was finished, and the table of the runs.

    Args:
        command: that wrote it.
        outcomes: of the parts.
        table: of the sweep; empty if no run is finished.
    """
    lines = [f"- {outcome}" for outcome in outcomes]
    shown = f"```\n{table.strip()}\n```" if table.strip() else "No run is finished."
    return f"# Sequences and joint distillation on CIFAR-10\n\n`{command}`\n\n" + "\n".join(lines) + f"\n\n{shown}\n"


if __name__ == "__main__":
    main()
