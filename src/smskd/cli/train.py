"""`smskd train` and `smskd resume`."""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from smskd.build import Provided
from smskd.builder.trust import foreign_name
from smskd.cli.exits import INTERRUPTED, end
from smskd.cli.progress import Display
from smskd.config.data import DataConfig
from smskd.data import Dataset
from smskd.errors import UserError
from smskd.recipe import Recipe
from smskd.report.page import PAGE
from smskd.runs.folder import METRICS, RECIPE, SUMMARY
from smskd.session import Run, begin, begin_seeds, reopen
from smskd.training.host import device_of, keep_freed_memory


def train_recipe(
    recipe: Recipe, seeds: list[int] | None, out: Path | None, *, quiet: bool, as_json: bool
) -> None:
    """Trains a recipe, once or for each seed.

    Args:
        recipe: every setting.
        seeds: one run for each, in ``OUT/seed<seed>``; None: one run in ``OUT``, with the recipe's seed.
        out: folder; None: ``runs/<name of the recipe>``.
        quiet: print nothing.
        as_json: print the summary as JSON, of several seeds a list, and nothing else.

    Raises:
        UserError: a mistake in the recipe, or the folder contains another run.
    """
    folder = out or Path("runs") / recipe.name
    _check_level(folder, seeds)
    display = Display(Console(), quiet=quiet or as_json)
    folders = [folder] if seeds is None else [folder / f"seed{seed}" for seed in seeds]
    with no_empty_folders(folders):
        runs = [begin(recipe, folder)] if seeds is None else begin_seeds(recipe, seeds, folder)
        trust = "" if foreign_name(recipe) is None else " --trust"
        train_all(runs, display, f"smskd resume {_quoted(folder)}{trust}")
    if as_json:
        _print_json(runs, several=seeds is not None)


def resume_runs(path: Path, *, force: bool = False, trust: bool = False, quiet: bool, as_json: bool) -> None:
    """Resumes the unfinished runs in and below a folder.

    Args:
        path: the folder.
        force: accept changes to ``recipe.yaml`` that affect the result by rounding at most, and more epochs.
        trust: import the Python objects that the recipes in the folder name.
        quiet: print nothing.
        as_json: print the summaries as JSON, and nothing else.

    Raises:
        UserError: there is no unfinished run, or one cannot be resumed.
    """
    if path.is_file():
        raise UserError(f"{path} is a file; give the folder of a run, or one with runs in it")
    display = Display(Console(), quiet=quiet or as_json)
    found = reopen(path, force=force, trust=trust)
    runs = [run for run in found if not run.folder.finished]
    if not runs:
        raise UserError(f"{path} is finished; show the result with: smskd compare {_quoted(path)}")
    if len(found) > len(runs):
        finished = len(found) - len(runs)
        display.say(f"{finished} of {len(found)} runs in {path} {'is' if finished == 1 else 'are'} already finished")
    train_all(runs, display, f"smskd resume {_quoted(path)}{' --trust' if trust else ''}")
    if as_json:
        _print_json(runs, several=found[0].folder.path != path)


def train_all(runs: list[Run], display: Display, again: str) -> None:
    """Trains runs one after another and prints the accuracy of each.

    Args:
        runs: to be trained or resumed.
        display: of the progress.
        again: the command that resumes all of them, for the message after Ctrl-C.

    Raises:
        UserError: a run cannot be trained. If no run has an epoch yet, the folders of new runs are discarded.
    """
    loaded: tuple[DataConfig, Dataset] | None = None
    try:
        with display.shown():
            for run in runs:
                if loaded is None or loaded[0] != run.recipe.data:
                    loaded = run.recipe.data, run.load(display.reading)
                _train(run, loaded[1], display)
    except KeyboardInterrupt:
        end(f"stopped; resume with: {again}", INTERRUPTED)
    except UserError:
        if not any((run.folder.path / METRICS).exists() for run in runs):
            for run in runs:
                if run.fresh:
                    run.folder.discard()
        raise


@contextmanager
def no_empty_folders(folders: list[Path]) -> Iterator[None]:
    """Removes new folders that are still empty after a UserError."""
    made = {path for folder in folders for path in (folder, *folder.parents) if not path.exists()}
    try:
        yield
    except UserError:
        for path in sorted(made, key=lambda path: len(path.parts), reverse=True):
            with suppress(OSError):
                path.rmdir()
        raise


def epochs_done(run: Run) -> int:
    """The number of epochs in the metrics of a run."""
    path = run.folder.path / METRICS
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def _train(run: Run, dataset: Dataset, display: Display) -> None:
    name = f"{run.recipe.name} seed {run.recipe.runtime.seed}"
    keep_freed_memory(device_of(run.recipe.runtime.device))
    config = run.build(Provided(dataset=dataset))
    try:
        display.epochs(run.train(config, display.track), name, config.recipe.stages, epochs_done(run))
    except OSError as error:
        raise UserError(f"{run.folder.path} cannot be written: {error.strerror or error}") from None
    student = _summary(run)["student"]
    accuracy = f"top-1 {student['top1_last']:.2f}% (last epoch)"
    if student["top1_best"] is not None:
        accuracy += f", {student['top1_best']:.2f}% (best epoch by validation)"
    display.say(f"{name}: {accuracy}  {run.folder.path / PAGE}")


def _check_level(folder: Path, seeds: list[int] | None) -> None:
    """A folder contains one run, or one run per seed, but not both."""
    if seeds is None and any(folder.glob(f"seed*/{RECIPE}")):
        raise UserError(f"{folder} contains runs of several seeds; choose another folder with --out")
    if seeds is not None and (folder / RECIPE).exists():
        raise UserError(f"{folder} contains a run without --seeds; choose another folder with --out")


def _print_json(runs: list[Run], *, several: bool) -> None:
    summaries = [_summary(run) for run in runs]
    typer.echo(json.dumps(summaries if several else summaries[0], indent=2, ensure_ascii=False))


def _summary(run: Run) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((run.folder.path / SUMMARY).read_text(encoding="utf-8"))
    return summary


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
