"""`smskd train` and `smskd resume`."""

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console

from smskd.cli.progress import Display
from smskd.data import Dataset
from smskd.engine.store import METRICS, SUMMARY
from smskd.errors import UserError
from smskd.recipe import DataSpec, read
from smskd.training import Run, begin, begin_seeds, reopen

INTERRUPTED = 130


def train_recipe(
    path: str, overrides: list[str], seeds: list[int] | None, out: Path | None, *, quiet: bool, as_json: bool
) -> None:
    """Trains a recipe, once or for each seed."""
    recipe = read(path, overrides)
    folder = out or Path("runs") / recipe.name
    runs = [begin(recipe, folder)] if seeds is None else begin_seeds(recipe, seeds, folder)
    display = Display(Console(), quiet=quiet or as_json)
    summaries = train_all(runs, display, folder)
    _conclude(summaries, runs, display, as_json=as_json)


def resume_runs(path: Path, *, quiet: bool, as_json: bool) -> None:
    """Goes on with every run in a folder that is not finished."""
    display = Display(Console(), quiet=quiet or as_json)
    runs = reopen(path)
    for run in runs:
        if run.folder.finished:
            display.say(f"{run.folder.path} is finished already")
    summaries = train_all([run for run in runs if not run.folder.finished], display, path)
    _conclude(summaries, [run for run in runs if run.folder.finished], display, as_json=as_json)


def train_all(runs: list[Run], display: Display, folder: Path) -> list[dict[str, Any]]:
    """Trains runs one after another and gives their summaries; Ctrl-C says how to go on."""
    loaded: tuple[DataSpec, Dataset] | None = None
    try:
        with display.shown():
            for run in runs:
                if loaded is None or loaded[0] != run.recipe.data:
                    loaded = run.recipe.data, run.load(display.reading)
                _train(run, loaded[1], display)
    except KeyboardInterrupt:
        _interrupted(folder, display)
    return [_summary(run) for run in runs]


def epochs_done(run: Run) -> int:
    """How many epochs of a run stand in its metrics."""
    path = run.folder.path / METRICS
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


def _train(run: Run, pictures: Dataset, display: Display) -> None:
    name = f"{run.recipe.name} seed {run.recipe.seed}"
    setup = run.setup(pictures)
    try:
        display.epochs(run.train(setup, display.track), name, setup.stages, epochs_done(run))
    except OSError as error:
        raise UserError(f"{run.folder.path} cannot be written: {error.strerror or error}") from None


def _interrupted(folder: Path, display: Display) -> NoReturn:
    display.console.print(f"stopped; go on with: smskd resume {folder}", highlight=False, soft_wrap=True)
    sys.exit(INTERRUPTED)


def _summary(run: Run) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((run.folder.path / SUMMARY).read_text(encoding="utf-8"))
    return summary


def _conclude(summaries: list[dict[str, Any]], runs: list[Run], display: Display, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(summaries[0] if len(summaries) == 1 else summaries, indent=2))
        return
    for run in runs:
        student = _summary(run)["student"]
        accuracy = f"top-1 {student['top1_last']:.2f}% (last epoch), {student['top1_best']:.2f}% (best)"
        display.say(f"{run.recipe.name} seed {run.recipe.seed}: {accuracy}  {run.folder.path / 'report.html'}")
