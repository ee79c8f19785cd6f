"""Text files that belong to a data set."""

from pathlib import Path

from smskd.errors import UserError

_LARGEST = 2**26
"""In bytes; the longest list of ImageNet has a few megabytes."""


def read_lines(path: Path) -> list[str]:
    """The lines of a text file in UTF-8.

    Raises:
        UserError: it cannot be read, is no text, or has more than 64 MiB.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise UserError(f"{path} has more than 64 MiB; it should be a list")
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
