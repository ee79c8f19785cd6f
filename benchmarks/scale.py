"""Measures cost over size, ``make bench-scale``: speed and memory over images, classes, stages, batches and runs.

    python benchmarks/scale.py

Each point is measured in a process of its own; called again, it goes on with the points that are missing. Written are
RESULTS-scale.md and scale.json beside this file, the charts in docs/images and the page docs/concepts/scale.md.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import scale_page
from scale_curves import CURVES, Curve, Point, curve
from timed_parts import Part, run_parts

from smskd.report.svg import save_svgs
from smskd.runs.atomic_files import write_text
from smskd.training.host import device_of, environment

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures the curves, or one of them, and writes the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curves", nargs="*", choices=[*(found.name for found in CURVES), []], help="default: all")
    parser.add_argument("--out", type=Path, default=Path("runs/scale"), help="the folder of points and logs")
    parser.add_argument("--limit", type=float, default=900, help="seconds for everything (default: 900)")
    parser.add_argument("--quick", action="store_true", help="two small sizes of each curve, as a test of this script")
    parser.add_argument("--pages", type=Path, help="write the pages into this folder, not into the repository")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    known = parser.parse_args(arguments)
    if known.pages is None and not known.measure and (known.quick or known.curves):
        parser.error("the pages of the repository are of all curves at their full sizes: give a folder with --pages")
    if known.quick and not known.measure:  # its points are no measurements of the curves
        known.out /= "quick"
    chosen = [curve(name) for name in known.curves] or list(CURVES)
    if known.measure:
        for found in chosen:
            measure(found, known.out, quick=known.quick)
        return
    outcomes = run_parts(parts_of(chosen, known.out.resolve(), quick=known.quick), known.out / "parts", known.limit)
    measured = {found.name: points_of(known.out, found) for found in chosen}
    measured = {name: points for name, points in measured.items() if len(points) > 1}
    write(measured, [str(outcome) for outcome in outcomes], known.pages)
    faults = scale_page.faults(measured)
    print("\n".join(faults) or "nothing grows faster than its work")


def parts_of(curves: Sequence[Curve], out: Path, *, quick: bool) -> list[Part]:
    """A part for each curve."""
    options = ["--measure", "--out", str(out), *(["--quick"] if quick else [])]
    return [
        Part(found.name, [sys.executable, str(HERE / "scale.py"), found.name, *options], 600, HERE.parent)
        for found in curves
    ]


def measure(found: Curve, out: Path, *, quick: bool) -> None:
    """Measures the points of a curve that are not in its file yet, each in a new process."""
    points = points_of(out, found)
    for size in found.quick if quick else found.sizes:
        if any(point["size"] == size for point in points):
            continue
        command = [sys.executable, str(HERE / "scale_point.py"), found.name, str(size), *(["--quick"] if quick else [])]
        # One thread: two that wait for each other would be measured twice.
        alone = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=alone)
        points = [*points, json.loads(done.stdout.splitlines()[-1])]
        write_text(_file(out, found), json.dumps(points))


def points_of(out: Path, found: Curve) -> list[Point]:
    """The points of a curve that have been measured, by size."""
    file = _file(out, found)
    points: list[Point] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    return sorted(points, key=lambda point: point["size"])


def write(measured: scale_page.Measured, outcomes: Sequence[str], folder: Path | None) -> None:
    """Writes the pages, the charts and the points.

    Args:
        measured: points by the name of the curve.
        outcomes: what became of the parts.
        folder: of everything; None: of the repository.
    """
    device = device_of("auto")
    machine = environment(device, tf32=True)
    results, docs = (HERE, DOCS) if folder is None else (folder, folder)
    content = {"environment": machine, "curves": measured}
    write_text(results / "scale.json", json.dumps(content, indent=1) + "\n")
    write_text(results / "RESULTS-scale.md", scale_page.results(measured, machine, outcomes))
    write_text(docs / "concepts" / "scale.md", scale_page.documentation(measured, machine))
    save_svgs(scale_page.charts(measured), docs / "images")


def _file(out: Path, found: Curve) -> Path:
    return out / f"{found.name}.json"


if __name__ == "__main__":
    main()
