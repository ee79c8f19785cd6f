"""Paths in settings."""

from pathlib import Path

from smskd.errors import UserError


def expanded(path: str | Path) -> Path:
    """The path with ``~`` and ``~user`` replaced by the home folder.

    Raises:
        UserError: there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path}: there is no home folder of this name") from None
