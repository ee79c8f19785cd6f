"""`smskd train` and `smskd resume`."""

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import typer

from smskd.build import Provided
from smskd.builder.trust import foreign_name
from smskd.cli.beside import train_beside
from smskd.cli.exits import INTERRUPTED, end
from smskd.cli.feature_lines import feature_lines
from smskd.cli.printing import SafeConsole
from smskd.cli.progress import Display
from smskd.cli.run_results import epochs_done, name_of, say_result
from smskd.config.data import DataConfig
from smskd.data import Dataset, TextDataset
from smskd.distributed.environment import is_first
from smskd.distributed.processes import join
from smskd.errors import UserError
from smskd.recipe import Recipe
from smskd.report.page import PAGE
from smskd.runs.file_names import METRICS, RECIPE, SEEDS
from smskd.seeds import begin_missing, begin_seeds
from smskd.session import Run, begin, reopen_folder, run_folders
from smskd.sweeps.beside import Beside
from smskd.training.config import RunConfig
from smskd.training.host import device_of, keep_freed_memory


def train_recipe(
    recipe: Recipe,
    seeds: list[int] | None,
    out: Path | None,
    *,
    quiet: bool,
    as_json: bool,
    beside: Beside | None = None,
) -> None:
    """Trains a recipe, once or for each seed.

    Args:
        recipe: every setting.
        seeds: one run for each, in ``OUT/seed<seed>``; None: one run in ``OUT``, with the recipe's seed.
        out: folder; None: ``runs/<name of the recipe>``.
        quiet: print nothing.
        as_json: print the summary as JSON, of several seeds a list, and nothing else.
        beside: whether the seeds are trained beside each other.

    Raises:
        UserError: a mistake in the recipe, or the folder contains another run.
    """
    folder = out or Path("runs") / recipe.name
    _check_level(folder, seeds)
    display = Display(SafeConsole(), quiet=quiet or as_json or not is_first())
    folders = [folder] if seeds is None else [folder / f"seed{seed}" for seed in seeds]
    with no_empty_folders(folders):
        runs = [begin(recipe, folder)] if seeds is None else begin_seeds(recipe, seeds, folder)
        trust = "" if foreign_name(recipe) is None else " --trust"
        train_all(runs, display, f"smskd resume {_quoted(folder)}{trust}{_options(beside)}", beside=beside)
    if as_json and is_first():
        _print_json(runs, several=seeds is not None)


def resume_runs(
    path: Path,
    *,
    force: bool = False,
    trust: bool = False,
    quiet: bool,
    as_json: bool,
    beside: Beside | None = None,
) -> None:
    """Resumes the unfinished runs in and below a folder.

    Args:
        path: the folder.
        force: accept changes to ``recipe.yaml`` that affect the result by rounding at most, and more epochs.
        trust: import the Python objects that the recipes in the folder name.
        quiet: print nothing.
        as_json: print the summaries as JSON, and nothing else.
        beside: whether the runs are trained beside each other.

    Raises:
        UserError: there is no unfinished run, or one cannot be resumed.
    """
    if path.is_file():
        raise UserError(f"{path} is a file; give the folder of a run, or one with runs in it")
    if not is_first():
        _resume_with_first(force=force, trust=trust)
        return
    display = Display(SafeConsole(), quiet=quiet or as_json)
    found, problems = _reopened(path, force=force, trust=trust)
    finished = [run for run in found if run.folder.finished]
    runs = [run for run in found if not run.folder.finished]
    mended, damages = _verified(finished)
    for sentence in mended:
        display.say(sentence)
    if not (runs or problems or damages or mended):
        raise UserError(f"{path} is finished; show the result with: smskd compare {_quoted(path)}")
    if finished and (runs or problems):
        display.say(
            f"{len(finished)} of {len(found)} runs in {path} {'is' if len(finished) == 1 else 'are'} already finished"
        )
    join().from_first(lambda: [run.folder.path for run in runs])
    again = f"smskd resume {_quoted(path)}{' --trust' if trust else ''}{_options(beside)}"
    train_all(runs, display, again, problems, damages, beside=beside)
    if as_json and runs:
        _print_json(runs, several=found[0].folder.path != path)


def _resume_with_first(*, force: bool, trust: bool) -> None:
    """Trains the runs that the first process of the job has found, together with it."""
    none: list[Path] = []
    paths = join().from_first(lambda: none)
    runs = [reopen_folder(path, force=force, trust=trust) for path in paths]
    train_all(runs, Display(SafeConsole(), quiet=True), "")


def train_all(
    runs: list[Run],
    display: Display,
    again: str,
    problems: Sequence[UserError] = (),
    damages: Sequence[str] = (),
    *,
    beside: Beside | None = None,
) -> None:
    """Trains runs, one after another unless ``beside`` is given, and prints the accuracy of each. One that cannot go on
    does not keep the others from training.

    Args:
        runs: to be trained or resumed.
        display: of the progress.
        again: the command that resumes all of them, for the message after Ctrl-C.
        problems: of further runs, which are told at the end.
        damages: to finished runs, which are told at the end as well.
        beside: whether they are trained beside each other.

    Raises:
        UserError: a run could not be trained, or a finished one is damaged. If a new run cannot begin at all, none
            does, and the folders of the new runs without an epoch are discarded.
    """
    failed = list(problems)
    try:
        with display.shown():
            if beside is None or len(runs) < 2:
                _one_after_another(runs, display, failed)
            else:
                train_beside(runs, display, failed, beside.most)
    except KeyboardInterrupt:
        end(f"stopped; resume with: {again}", INTERRUPTED)
    except UserError:
        _discard_new(runs)
        raise
    if failed:
        _discard_new(runs)
    told = [str(told_together(failed, len(runs) + len(problems)))] if failed else []
    if told or damages:
        raise UserError("; ".join((*told, *damages)))


def _one_after_another(runs: list[Run], display: Display, failed: list[UserError]) -> None:
    """Trains runs; what keeps one of them from training is added to the errors."""
    loaded: tuple[DataConfig, Dataset | TextDataset] | None = None
    for run in runs:
        try:
            if loaded is None or loaded[0] != run.recipe.data:
                loaded = run.recipe.data, run.load(display.reading)
            config = _built(run, loaded[1])
        except UserError as error:
            if run.fresh:  # a mistake in the recipe, which the others share
                raise
            failed.append(error)
            continue
        try:
            _train(run, config, display)
        except UserError as error:
            if not config.sharing.processes.alone:  # the others may be within the run
                raise
            failed.append(error)


def told_together(failed: Sequence[UserError], runs: int) -> UserError:
    """One error for those of several runs.

    Args:
        failed: at least one.
        runs: the number of all runs.
    """
    if runs == 1:
        return failed[0]
    reasons = "; ".join(dict.fromkeys(map(str, failed)))
    return UserError(f"{len(failed)} of {runs} runs could not be trained: {reasons}")


def _reopened(path: Path, *, force: bool, trust: bool) -> tuple[list[Run], list[UserError]]:
    """The runs in and below a folder, and the problems of those that cannot be opened."""
    problems: list[UserError] = []
    try:
        begin_missing(path, trust=trust)
    except UserError as error:
        problems.append(error)
    runs = []
    try:
        folders = run_folders(path)
    except UserError as error:
        raise problems[0] if problems else error from None
    for folder in folders:
        try:
            runs.append(reopen_folder(folder, force=force, trust=trust))
        except UserError as error:
            problems.append(error)
    return runs, problems


def _verified(finished: list[Run]) -> tuple[list[str], list[str]]:
    """A sentence for each file of finished runs that is there again, and one for each that is damaged or missing."""
    mended: list[str] = []
    damages: list[str] = []
    for run in finished:
        with suppress(UserError):  # then it is among the damages
            mended += filter(None, [run.folder.restore_student()])
        found = run.folder.damages()
        damages += found
        if not found and run.make_missing_page():
            mended += run.problems or [f"{run.folder.path / PAGE} was missing, and is made again."]
    return mended, damages


def _discard_new(runs: list[Run]) -> None:
    if not any((run.folder.path / METRICS).exists() for run in runs):
        for run in runs:
            if run.fresh:
                run.discard()


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


def _built(run: Run, dataset: Dataset | TextDataset) -> RunConfig:
    keep_freed_memory(device_of(run.recipe.runtime.device))
    return run.build(Provided(dataset=dataset))


def _train(run: Run, config: RunConfig, display: Display) -> None:
    for line in feature_lines(config) if is_first() else ():
        display.say(line)
    display.epochs(run.train(config, display.track), name_of(run), config.recipe.stages, epochs_done(run))
    if is_first():
        say_result(run, display)


def _check_level(folder: Path, seeds: list[int] | None) -> None:
    """A folder contains one run, or one run per seed, but not both."""
    if seeds is None and (any(folder.glob(f"seed*/{RECIPE}")) or (folder / SEEDS).exists()):
        raise UserError(f"{folder} contains runs of several seeds; choose another folder with --out")
    if seeds is not None and (folder / RECIPE).exists():
        raise UserError(f"{folder} contains a run without --seeds; choose another folder with --out")


def _print_json(runs: list[Run], *, several: bool) -> None:
    summaries = [_summary(run) for run in runs]
    typer.echo(json.dumps(summaries if several else summaries[0], indent=2, ensure_ascii=False))


def _summary(run: Run) -> dict[str, Any]:
    return run.folder.load_summary()


def _options(beside: Beside | None) -> str:
    return "" if beside is None else f" {beside}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
