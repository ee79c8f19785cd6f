"""`smskd demo`: a teacher and six students on the digits, compared."""

from pathlib import Path

from rich.console import Console

from smskd.analysis.compare import compare
from smskd.analysis.runs import find_runs
from smskd.analysis.tables import rich_table
from smskd.cli.progress import Display
from smskd.cli.train import train_all
from smskd.engine.store import RunFolder
from smskd.recipe import read
from smskd.report.page import write_report
from smskd.training import begin, begin_seeds

TEACHER = "recipes/digits/teacher.yaml"
STUDENTS = ("plain", "kd", "fitnet", "joint", "fitnet-kd", "fitnet-kd-no-reference")


def run_demo(out: Path, seeds: list[int], epochs: int | None, *, quiet: bool) -> None:
    """Trains the teacher, then the students for each seed, prints the table and writes the page."""
    display = Display(Console(), quiet=quiet)
    folders = [out / name for name in STUDENTS]
    for folder in [out / "teacher", *(folder / f"seed{seed}" for folder in folders for seed in seeds)]:
        RunFolder(folder).check_free()
    display.say(f"a teacher, then {len(STUDENTS)} students with {len(seeds)} seeds each, into {out}")
    train_all([begin(read(TEACHER), out / "teacher")], display, out)
    changes = [f"teacher.weights={out / 'teacher'}", *([f"epochs={epochs}"] if epochs else [])]
    runs = [
        run
        for name, folder in zip(STUDENTS, folders, strict=True)
        for run in begin_seeds(read(f"recipes/digits/{name}.yaml", changes), seeds, folder)
    ]
    train_all(runs, display, out)
    finished = find_runs(folders)
    page = out / "report.html"
    write_report(finished, page)
    if not quiet:
        display.console.print(rich_table(compare(finished)))
        display.say(f"runs: {out}\npage: {page}")
