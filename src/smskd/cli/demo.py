"""`smskd demo`: a teacher and six students on the handwritten digits, compared with their uncertainty."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote

from smskd.analysis.compare import compare
from smskd.analysis.paired import conclusion, paired_difference
from smskd.cli.demo_table import demo_table
from smskd.cli.exits import INTERRUPTED, end
from smskd.cli.printing import SafeConsole
from smskd.cli.progress import Display
from smskd.cli.run_bars import RunBars
from smskd.cli.train import no_empty_folders, train_all
from smskd.errors import UserError
from smskd.recipe import Recipe, read
from smskd.recipe.absolute_paths import absolute_paths
from smskd.report.page import PAGE, write_report
from smskd.runs.folder import METRICS, RECIPE
from smskd.runs.reader import find_runs
from smskd.seeds import with_seed
from smskd.session import Run, begin, reopen
from smskd.strategies.resolve import resolve
from smskd.sweeps.workers import train_in_processes

TEACHER = "digits/teacher.yaml"
STUDENTS = ("plain", "kd", "fitnet", "joint", "fitnet-kd", "fitnet-kd-no-reference")
BASELINES = ("plain", "kd")
"""The students that the others are compared with."""

CHECKPOINT_EVERY = 20
"""Epochs: writing a checkpoint takes about as long as an epoch of these students."""

WORKERS = 2
"""Students that are trained at a time, each by one thread."""


def run_demo(out: Path, seeds: list[int], epochs: int | None, *, quiet: bool) -> None:
    """Trains the teacher, then the students, two at a time; prints a table and a conclusion, and writes the page.

    Runs that an earlier demo has left in the folder are resumed if they are not finished, and not trained again.

    Args:
        out: folder of the runs: ``teacher``, and ``STUDENT/seedSEED``.
        seeds: of the students.
        epochs: of the students; None: those of the recipes.
        quiet: print nothing.

    Raises:
        UserError: a run cannot be trained, or the folder contains a run with other settings.
    """
    display = Display(SafeConsole(), quiet=quiet)
    teacher, students = read(TEACHER), _students(out, epochs)
    wanted = {out / name / f"seed{seed}": with_seed(students[name], seed) for seed in seeds for name in STUDENTS}
    again = f"smskd demo --out {quote(str(out))} --seeds {','.join(map(str, seeds))}"
    again += f" --epochs {epochs}" if epochs else ""
    display.say(f"a teacher, then {len(STUDENTS)} students with {len(seeds)} seeds each, into {out}")
    with no_empty_folders(list(wanted)):
        train_all(_unfinished([_run(out / "teacher", teacher)]), display, again)
        _train_students(_unfinished([_run(folder, recipe) for folder, recipe in wanted.items()]), display, again)
    _show_results(out, [out / name / f"seed{seed}" for name in STUDENTS for seed in seeds], display)


def _students(out: Path, epochs: int | None) -> Mapping[str, Recipe]:
    """The recipe of each student."""
    weights = json.dumps(str(out / "teacher"))
    changes = [f"teacher.weights={weights}", f"runtime.checkpoint_every={CHECKPOINT_EVERY}"]
    if epochs:
        changes.append(f"training.epochs={epochs}")
    return {name: read(f"digits/{name}.yaml", changes) for name in STUDENTS}


def _run(folder: Path, recipe: Recipe) -> Run:
    """The run in a folder, begun if there is none."""
    if not (folder / RECIPE).is_file():
        return begin(recipe, folder)
    (run,) = reopen(folder)
    if run.recipe != resolve(absolute_paths(recipe)):
        raise UserError(f"{folder} contains a run with other settings; choose another folder with --out")
    return run


def _unfinished(runs: list[Run]) -> list[Run]:
    return [run for run in runs if not run.folder.finished]


def _train_students(runs: list[Run], display: Display, again: str) -> None:
    """Trains in worker processes; after a mistake, new runs without an epoch are discarded."""
    bars = RunBars(display, runs)
    try:
        with display.shown(), bars.shown():
            train_in_processes([run.folder.path for run in runs], WORKERS, bars.update)
    except KeyboardInterrupt:
        end(f"stopped; go on with: {again}", INTERRUPTED)
    except UserError:
        for run in runs:
            if run.fresh and not (run.folder.path / METRICS).exists():
                run.folder.discard()
        raise


def _show_results(out: Path, folders: Sequence[Path], display: Display) -> None:
    """Prints the table and the conclusion, and writes the page."""
    finished = find_runs(folders)
    page = out / PAGE
    write_report(finished, page)
    rows = compare(finished)
    by_name = {row.name: row for row in rows}
    differences = [
        paired_difference(row, by_name[baseline])
        for baseline in BASELINES
        if baseline in by_name
        for row in rows
        if row.name != baseline and (row.name, baseline) != BASELINES
    ]
    if not display.quiet:
        display.console.print(demo_table(rows, differences))
    display.say(f"{conclusion(differences)}\nruns: {out}\npage: {page}")
