"""The encoded images of Parquet files, copied once to files in which each image can be found by its position.

A Parquet file is read a group of rows at a time, and its pages are compressed: reading one image costs reading its
whole group. A shuffled epoch would read each group hundreds of times.
"""

import hashlib
import os
import secrets
import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch

from smskd.config.cache import FOLDER_VARIABLE, default_folder
from smskd.config.sizes import in_words
from smskd.data.sources.parquet_reading import open_file, read_cells
from smskd.errors import UserError

Integers = npt.NDArray[np.int64]
Checksums = npt.NDArray[np.uint32]

_MAGIC = b"smskd-i2"
_EMPTY = -1
"""The size of an image that a cell does not have."""

_FOOTER = 2**20
"""Bytes at the end of a Parquet file that its copy is recognised by: places and sizes of its groups."""

_USABLE_SHARE = 0.95
"""Of the free space of the disk."""

_ABANDONED = 24 * 3600.0
"""Seconds after which an unfinished copy that has not grown is one of a killed process."""


@dataclass(frozen=True, eq=False)
class Copy:
    """A file with the encoded images of a Parquet file, one after the other.

    Attributes:
        path: of the copy.
        offsets: of each image, in bytes from the beginning.
        sizes: of each image, in bytes; -1 where the cell is empty.
        checksums: CRC-32 of each image.
    """

    path: Path
    offsets: Integers
    sizes: Integers
    checksums: Checksums

    def read(self, row: int) -> bytes | None:
        """The bytes of an image; None: there is none.

        Raises:
            UserError: the copy has been changed or removed. A damaged one is removed.
        """
        size = int(self.sizes[row])
        if size == _EMPTY:
            return None
        try:
            # Not kept open: worker processes would share its position, and there may be more files than may be open.
            with self.path.open("rb", buffering=0) as file:
                file.seek(int(self.offsets[row]))
                content = file.read(size)
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror}; start again to make it anew") from error
        if len(content) != size or zlib.crc32(content) != self.checksums[row]:
            with suppress(OSError):
                self.path.unlink()
            raise UserError(f"{self.path}, a copy of images, is damaged and was removed; start again to make it anew")
        return content


def copy_path(path: Path, column: str) -> Path:
    """Where the copy of a Parquet file is kept: it follows from path, size, time and end of the file, and the column.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        facts = path.stat()
        with path.open("rb") as file:
            file.seek(max(0, facts.st_size - _FOOTER))
            end = hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    key = repr((str(path.resolve()), facts.st_size, facts.st_mtime_ns, end, column, _MAGIC))
    return default_folder() / "parquet" / f"{path.stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.images"


def existing_copy(path: Path, column: str, rows: int) -> Copy | None:
    """The copy of a Parquet file that an earlier call has made; None where there is none that is whole.

    Args:
        path: of the Parquet file.
        column: of its images.
        rows: of the file.
    """
    target = copy_path(path, column)
    tail = len(_MAGIC) + 8
    try:
        length = target.stat().st_size
        with target.open("rb") as file:
            file.seek(max(0, length - tail))
            end = file.read()
            if end != np.int64(rows).tobytes() + _MAGIC:
                return None
            file.seek(length - tail - 12 * rows)
            sizes = np.frombuffer(file.read(8 * rows), dtype=np.int64)
            checksums = np.frombuffer(file.read(4 * rows), dtype=np.uint32)
    except (OSError, ValueError):
        return None
    stored = np.maximum(sizes, 0)
    if int(stored.sum()) + 12 * rows + tail != length:
        return None
    return Copy(target, stored.cumsum() - stored, sizes, checksums)


def copied(path: Path, column: str, rows: int) -> Iterator[int]:
    """Copies the images of a Parquet file, some of them at a time.

    Args:
        path: of the Parquet file.
        column: of its images.
        rows: of the file.

    Yields:
        The number of images in each part that is done.

    Raises:
        UserError: the Parquet file is damaged, or the disk has not enough room.
    """
    target = copy_path(path, column)
    with _replacing(target) as file:
        room = _room(path, target)
        sizes, checksums = np.full(rows, _EMPTY, dtype=np.int64), np.zeros(rows, dtype=np.uint32)
        written = 0
        for cells in read_cells(path, column, torch.arange(rows)):
            contents = [content for _, content in cells]
            rows_read = slice(cells[0][0], cells[0][0] + len(cells))
            sizes[rows_read] = [_EMPTY if item is None else len(item) for item in contents]
            checksums[rows_read] = [0 if item is None else zlib.crc32(item) for item in contents]
            written += sum(len(item) for item in contents if item is not None)
            if written > room:
                raise _no_room(path, target, written)
            file.writelines(item for item in contents if item is not None)
            yield len(cells)
        file.write(sizes.tobytes() + checksums.tobytes() + np.int64(rows).tobytes() + _MAGIC)


def _room(path: Path, target: Path) -> int:
    """Bytes that a copy may take; an error where it will certainly need more."""
    metadata: Any = open_file(path).metadata
    needed = sum(int(metadata.row_group(group).total_byte_size) for group in range(metadata.num_row_groups))
    room = int(_USABLE_SHARE * shutil.disk_usage(target.parent).free)
    if needed > room:
        raise _no_room(path, target, needed)
    return room


def _no_room(path: Path, target: Path, needed: int) -> UserError:
    return UserError(
        f"{target.parent} has no room for the images of {path} (at least {in_words(needed)}), which are copied "
        f"there to be streamed; set {FOLDER_VARIABLE} to a folder on another disk, or data.loader.kind: memory"
    )


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    """A new file that takes the target's place when it is whole."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target)
        temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"{target} cannot be written: {reason}; set {FOLDER_VARIABLE} to another folder, or data.loader.kind to "
            "'memory'"
        ) from error


def _remove_abandoned(target: Path) -> None:
    for other in target.parent.glob(f".{target.name}.*.tmp"):
        with suppress(OSError):
            if time.time() - other.stat().st_mtime > _ABANDONED:
                other.unlink()
