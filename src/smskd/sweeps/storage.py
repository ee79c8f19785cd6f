"""Where the state of a sweep is kept: a journal in its folder, or a database that several machines reach."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smskd.errors import UserError

if TYPE_CHECKING:
    import optuna

JOURNAL = "journal.log"
"""The file of a sweep on one machine."""

_PASSWORD = re.compile(r"(?<=:)[^:@/]+(?=@)")


def open_storage(place: str) -> Any:
    """The storage at a place: the path of a journal, or the URL of a database.

    Raises:
        UserError: Optuna or the driver of the database is not installed, or there is no connection.
    """
    if find_spec("optuna") is None:
        raise UserError("sweeps need Optuna: pip install 'smskd[optuna]'")
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    try:
        if is_url(place):
            return RDBStorage(_with_driver(place), engine_kwargs={"pool_pre_ping": True})
        return JournalStorage(JournalFileBackend(place))
    except ImportError as error:
        raise UserError(f"{shown(place)}: the driver of this database is not installed ({error})") from None
    except Exception as error:  # whatever the driver raises
        reason = _PASSWORD.sub("***", (str(error).strip() or type(error).__name__).splitlines()[0])
        raise UserError(f"{shown(place)}: no connection to this database ({reason})") from None


def is_url(place: str) -> bool:
    """Whether a place is the URL of a database."""
    return "://" in place


def shown(place: str) -> str:
    """A place for messages, without a password."""
    return _PASSWORD.sub("***", place)


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna tells nothing but errors within; afterwards it does as before."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _with_driver(url: str) -> str:
    """The URL with the driver that the extra ``postgres`` installs, where it names none."""
    return re.sub(r"^postgres(?:ql)?://", "postgresql+psycopg://", url)


def journal_of(folder: Path) -> str:
    """The journal of a sweep on one machine."""
    return str(folder / JOURNAL)


def load_study(place: str, name: str, **options: Any) -> "optuna.Study":
    """A sweep that was begun.

    Args:
        place: of the storage.
        name: of the sweep.
        options: sampler and pruner.

    Raises:
        UserError: there is none.
    """
    if not is_url(place) and not Path(place).is_file():  # Optuna would make the file
        raise UserError(f"'{place}' is neither the URL of a database nor the journal of a sweep")
    storage = open_storage(place)
    import optuna

    with quiet():
        try:
            return optuna.load_study(study_name=name, storage=storage, **options)
        except KeyError:
            raise UserError(f"{shown(place)} holds no sweep called '{name}'") from None
