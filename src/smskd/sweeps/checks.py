"""Checks of all runs of a sweep before the first of them is trained."""

from pathlib import Path

from smskd.build import Provided
from smskd.builder.trust import check_names
from smskd.errors import UserError
from smskd.recipe.absolute_paths import absolute_paths
from smskd.runs.folder import RunFolder
from smskd.session import Run
from smskd.strategies.resolve import resolve
from smskd.sweeps.board import Board
from smskd.sweeps.space import Point
from smskd.sweeps.sweep_worker import recipe_of
from smskd.sweeps.workers import Loaded, dataset_of
from smskd.training.config import RunConfig
from smskd.training.reports import Track, untracked
from smskd.training.run import check


def check_runs(board: Board, out: Path, track: Track = untracked) -> None:
    """Rehearses the runs of one seed that have not begun yet.

    Args:
        board: the sweep.
        out: its folder.
        track: shows progress.

    Raises:
        UserError: a run cannot be trained; the message begins with its name.
    """
    loaded: Loaded = []
    wanted = [point for point in board.examples() if not (out / point.folder).is_dir()]
    for point in track(wanted, len(wanted), "checking the runs"):
        try:
            check(built(board, point, out, loaded))
        except UserError as error:
            raise UserError(f"{point.name}: {error}") from None


def check_trust(board: Board) -> None:
    """Refuses a sweep of somebody else that names anything but what comes with the package.

    Raises:
        UserError: it does.
    """
    for point in board.examples():
        check_names(point.recipe(board.sweep), f"the sweep '{board.sweep.config.name}'")


def built(board: Board, point: Point, out: Path, loaded: Loaded) -> RunConfig:
    """Everything that a run needs; nothing is written.

    Args:
        board: the sweep.
        point: the run.
        out: folder of the sweep.
        loaded: data sets of runs before it.

    Raises:
        UserError: anything that the run needs cannot be had; a search without a validation split.
    """
    recipe = resolve(absolute_paths(recipe_of(board, point, out)))
    if board.search is not None and recipe.data.validation is None:
        raise UserError("a search needs a validation split; give data.validation, such as {fraction: 0.1}")
    run = Run(recipe, RunFolder(out / point.folder))
    return run.build(Provided(dataset=dataset_of(run, loaded)))
