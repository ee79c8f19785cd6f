"""The files in a tar archive, from its headers alone.

A tar has no checksums of its contents, and Python's reader takes a damaged header for the end of the archive. Therefore
the end mark is required, and nothing but zeros may follow it.
"""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from smskd.errors import UserError

_BLOCK = 512
_CHUNK = 2**20


class Member(NamedTuple):
    """A regular file in an archive."""

    name: str
    offset: int
    """Of its contents, in bytes from the beginning of the archive."""
    size: int
    """In bytes."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what is raised about the contents of an archive into a line."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except MemoryError as error:
        raise UserError(f"{path} needs too much memory to be read as a tar: it is damaged") from error
    except Exception as error:  # tarfile raises built-in exceptions too
        raise UserError(f"{path} cannot be read as a tar: {_reason(error)}") from error


def members(path: Path) -> Iterator[Member]:
    """The regular files of an archive, in their order.

    Raises:
        UserError: it is not an uncompressed tar, or it is cut off or damaged.
    """
    with readable(path), path.open("rb") as file:
        if file.read(2) in (b"\x1f\x8b", b"BZ", b"\xfd7", b"\x28\xb5"):
            raise UserError(f"{path} is compressed; images are read by their position, so unpack it to a tar")
        file.seek(0)
        length = path.stat().st_size
        with tarfile.open(fileobj=file, mode="r:") as archive:
            before = -1
            while (info := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # it would keep all of them
                if info.offset_data <= before or info.size < 0 or info.offset_data + info.size > length:
                    raise UserError(f"{path} is damaged: the header of '{info.name[:80]}' is wrong")
                before = info.offset_data
                if info.isreg() and not info.issparse():
                    yield Member(info.name, info.offset_data, info.size)
            _check_end(path, file, archive.offset)


def _check_end(path: Path, file: BinaryIO, offset: int) -> None:
    """Requires the end mark at a place, and nothing behind it."""
    file.seek(offset)
    mark = file.read(_BLOCK)
    if len(mark) < _BLOCK:
        raise UserError(f"{path} has no end mark: it is cut off, or was not closed when it was written")
    if any(mark):
        raise UserError(f"{path} is damaged at byte {offset}: there is no header of a file")
    while chunk := file.read(_CHUNK):
        if any(chunk):
            raise UserError(
                f"{path} has data behind its end mark, at byte {offset}: tars that were joined have to stay apart"
            )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
