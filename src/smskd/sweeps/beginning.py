"""Beginning a sweep, from the command line or from Python."""

from contextlib import suppress
from pathlib import Path

from smskd.errors import UserError
from smskd.sweeps.beside import Beside
from smskd.sweeps.board import Board
from smskd.sweeps.checks import check_runs
from smskd.sweeps.storage import JOURNAL, is_url, journal_of
from smskd.sweeps.sweep_beside import check_beside
from smskd.sweeps.sweep_file import Sweep
from smskd.training.reports import Track, untracked


def begin(
    sweep: Sweep, out: Path, storage: str | None, track: Track = untracked, *, beside: Beside | None = None
) -> Board:
    """Begins a sweep, or goes on with it, once its runs have been checked.

    Args:
        sweep: that was read.
        out: its folder.
        storage: URL of a database; None: a journal in the folder.
        track: shows the progress of the checks.
        beside: whether runs are to be trained beside each other.

    Raises:
        UserError: a run cannot be trained, the storage cannot be used, or the folder holds another sweep. Nothing has
            begun then, and nothing new is left in the folder.
    """
    made = _made(out)
    try:
        board = Board.begin(sweep, place_of(out, storage))
        if beside is not None:
            check_beside(board)
        check_runs(board, out, track)
    except UserError:
        _remove(made)
        raise
    return board


def place_of(out: Path, storage: str | None) -> str:
    """The place of a sweep's storage; the folder is made where the journal is in it.

    Raises:
        UserError: the storage is no URL, or the folder cannot be made.
    """
    if storage is not None and not is_url(storage):
        raise UserError(f"--storage: '{storage}' is not the URL of a database, such as postgresql://user@host/name")
    if storage is None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{out} cannot be made: {error.strerror or error}") from None
    return storage or journal_of(out)


def _made(out: Path) -> list[Path]:
    """What a sweep that cannot begin would leave, outermost last."""
    journal = out / JOURNAL
    return [] if journal.exists() else [journal, *(path for path in (out, *out.parents) if not path.exists())]


def _remove(made: list[Path]) -> None:
    for path in made:
        with suppress(OSError):
            path.unlink() if path.is_file() else path.rmdir()
