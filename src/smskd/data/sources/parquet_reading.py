"""Parquet files read a few rows at a time: labels, and the bytes of images.

A file may be damaged or made to exhaust memory: sizes are compared before they are allocated, and every error of
pyarrow becomes a line that names the file.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from smskd.data.memory import require_memory
from smskd.errors import UserError

NO_LABEL = torch.iinfo(torch.int64).min
"""Stands for an empty cell."""

Cell = tuple[int, bytes | None]
"""The row of an image in its file, and its bytes."""

_ROWS = 32 * (os.cpu_count() or 1)
"""Images that are decoded together."""
_BATCH_BYTES = 2**30
"""Bytes of images that are decoded together, where the images are large."""
_BYTES_PER_LABEL = 32
"""While labels are read and converted."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what pyarrow raises about the contents of a file into a line."""
    try:
        yield
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{path} needs too much memory: it is damaged, or its groups are too large") from error
    except Exception as error:  # pyarrow raises built-in exceptions too
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} cannot be read as Parquet: {reason}") from error


def open_file(path: Path) -> Any:
    """An open Parquet file.

    Raises:
        UserError: it cannot be read as one.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file")
    with readable(path):
        return pq.ParquetFile(path, page_checksum_verification=True)


def read_labels(path: Path, name: str) -> Tensor:
    """The integers of a column, int64 [rows], with :data:`NO_LABEL` for empty cells.

    Raises:
        UserError: the file is damaged, or an integer is larger than int64.
    """
    file = open_file(path)
    advice = "the file is damaged, or too large for this machine"
    require_memory(_BYTES_PER_LABEL * file.metadata.num_rows, f"{path}: the labels", advice)
    with readable(path):
        column = file.read(columns=[name]).column(name)
        labels = torch.from_numpy(column.cast("int64").fill_null(NO_LABEL).to_numpy().copy())
    if len(labels) != sum(_group_rows(file)):
        raise UserError(f"{path} is damaged: it has {len(labels)} labels, and groups of {sum(_group_rows(file))} rows")
    return labels


def read_cells(path: Path, name: str, wanted: Tensor) -> Iterator[list[Cell]]:
    """The bytes of the images in some rows, group by group; groups of rows without any of them are not read.

    Args:
        path: the file.
        name: of the image column.
        wanted: the rows, int64 [n], in ascending order.

    Raises:
        UserError: the file is damaged.
    """
    file = open_file(path)
    cells: list[Cell] = []
    size = 0
    for cell in _wanted_cells(path, file, name, wanted):
        cells.append(cell)
        size += len(cell[1] or b"")
        if len(cells) == _ROWS or size > _BATCH_BYTES:
            yield cells
            cells, size = [], 0
    if cells:
        yield cells


def _wanted_cells(path: Path, file: Any, name: str, wanted: Tensor) -> Iterator[Cell]:
    end = 0
    for group, count in enumerate(_group_rows(file)):
        begin, end = end, end + count
        rows = wanted[(wanted >= begin) & (wanted < end)].tolist()
        if rows:
            yield from _cells_of_group(path, file, group, name, begin, rows)


def _cells_of_group(path: Path, file: Any, group: int, name: str, begin: int, rows: list[int]) -> Iterator[Cell]:
    with readable(path):
        batches = file.iter_batches(batch_size=_batch_rows(file, group), row_groups=[group], columns=[name])
        waiting = iter(rows)
        row: int | None = next(waiting)
        for batch in batches:
            column = _bytes_of(batch.column(0))
            while row is not None and row - begin < len(column):
                yield row, column[row - begin].as_py()
                row = next(waiting, None)
            if row is None:
                return
            begin += len(column)
    raise UserError(f"{path} ends before row {row}: it is damaged")


def _group_rows(file: Any) -> list[int]:
    counts = [int(file.metadata.row_group(group).num_rows) for group in range(file.num_row_groups)]
    return counts if all(count >= 0 for count in counts) else []


def _batch_rows(file: Any, group: int) -> int:
    """So few rows that their cells fit in memory even if each were as large as the whole group.

    A cell that is repeated is stored once, so that a small file can have gigabytes of them.
    """
    # Not the size of the column: pyarrow ends the process where the facts about a column are damaged.
    stored = int(file.metadata.row_group(group).total_byte_size)
    return max(1, min(_ROWS, _BATCH_BYTES // max(stored, 1)))


def _bytes_of(column: Any) -> Any:
    return pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column
