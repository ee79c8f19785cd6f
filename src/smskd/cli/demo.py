"""`smskd demo`: a teacher and six students on the digits, compared."""

import json
from pathlib import Path
from shlex import quote

from rich.console import Console

from smskd.analysis.compare import compare
from smskd.analysis.tables import rich_table
from smskd.build import absolute_paths
from smskd.cli.progress import Display
from smskd.cli.train import no_empty_folders, train_all
from smskd.errors import UserError
from smskd.recipe import Recipe, read
from smskd.report.page import PAGE, write_report
from smskd.runs.folder import RECIPE
from smskd.runs.reader import find_runs
from smskd.session import Run, begin, reopen
from smskd.strategies.resolve import resolved

TEACHER = "digits/teacher.yaml"
STUDENTS = ("plain", "kd", "fitnet", "joint", "fitnet-kd", "fitnet-kd-no-reference")


def run_demo(out: Path, seeds: list[int], epochs: int | None, *, quiet: bool) -> None:
    """Trains the teacher, then the students for each seed, prints the table and writes the page.

    What an earlier demo has left in the folder is not trained again.
    """
    display = Display(Console(), quiet=quiet)
    teacher, students = read(TEACHER), _students(out, epochs)
    wanted = {out / name / f"seed{seed}": _seeded(students[name], seed) for name in STUDENTS for seed in seeds}
    again = f"smskd demo --out {quote(str(out))} --seeds {','.join(map(str, seeds))}"
    again += f" --epochs {epochs}" if epochs else ""
    display.say(f"a teacher, then {len(STUDENTS)} students with {len(seeds)} seeds each, into {out}")
    with no_empty_folders(list(wanted)):
        train_all(_left([_run(out / "teacher", teacher)]), display, again)
        train_all(_left([_run(folder, recipe) for folder, recipe in wanted.items()]), display, again)
    finished = find_runs(wanted)
    page = out / PAGE
    write_report(finished, page)
    if not quiet:
        display.console.print(rich_table(compare(finished), width=display.console.width))
    display.say(f"runs: {out}\npage: {page}")


def _students(out: Path, epochs: int | None) -> dict[str, Recipe]:
    """The students' recipes, with the learning-rate decays at the same shares of the epochs."""
    changes = [f"teacher.weights={json.dumps(str(out / 'teacher'))}"]
    if epochs:
        changes += [f"epochs={epochs}", f"schedule.decay_epochs={_decays(epochs)}"]
    return {name: read(f"digits/{name}.yaml", changes) for name in STUDENTS}


def _decays(epochs: int) -> list[int]:
    whole = read(f"digits/{STUDENTS[0]}.yaml")
    return [max(1, epoch * epochs // whole.epochs) for epoch in whole.schedule.decay_epochs]


def _seeded(recipe: Recipe, seed: int) -> Recipe:
    return recipe.model_copy(update={"seed": seed})


def _run(folder: Path, recipe: Recipe) -> Run:
    """The run in a folder, begun if there is none."""
    if not (folder / RECIPE).is_file():
        return begin(recipe, folder)
    (run,) = reopen(folder)
    if run.recipe != resolved(absolute_paths(recipe)):
        raise UserError(f"{folder} holds a run with other settings; choose another folder with --out")
    return run


def _left(runs: list[Run]) -> list[Run]:
    return [run for run in runs if not run.folder.finished]
