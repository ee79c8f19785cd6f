"""Labelled pictures in Parquet files, as the Hugging Face hub keeps image data sets.

A picture is one cell: the bytes of a PNG, JPEG or the like, alone or as the field ``bytes`` of a struct.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from smskd.data.dataset import Dataset, Images, channel_statistics, subset_rows
from smskd.data.sources.catalog import Track
from smskd.data.sources.parquet_columns import Columns, check_columns, find_columns, open_file
from smskd.data.sources.parquet_files import find_splits
from smskd.errors import UserError

Array = npt.NDArray[np.uint8]

_CHUNK = 32
"""Pictures that a thread decodes in one go."""


def load(
    root: str | Path,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    image_size: tuple[int, int] | None = None,
    channels: Literal[1, 3] = 3,
    train_limit: int | None = None,
    test_limit: int | None = None,
    seed: int = 0,
    track: Track | None = None,
) -> Dataset:
    """The training and test pictures of a folder.

    Mean and standard deviation are those of the training pictures that are loaded.

    Args:
        root: folder with files or subfolders of each part: ``train`` and ``test``, or ``validation`` where
            there is no ``test``; see :func:`~smskd.data.sources.parquet_files.find_splits`.
        image_column: default: found as in :func:`~smskd.data.sources.parquet_columns.find_columns`.
        label_column: likewise.
        image_size: (height, width) to which all pictures are resized, bilinear with antialiasing; default:
            as they are, and then all must be of one size.
        channels: 3 makes RGB of every picture, 1 makes gray.
        train_limit: decode only so many training pictures: the part that :meth:`Images.subset` takes.
            Groups of rows of which none is taken are not read.
        test_limit: likewise for the test pictures.
        seed: of that choice.
        track: called for each part with the running numbers of its pictures and how many they are.

    Raises:
        UserError: files or columns are missing, a picture cannot be decoded or has another size, or a label
            is no class; file and row (counted from 0) are named.
    """
    if channels not in (1, 3):
        raise UserError(f"channels is {channels}; it has to be 3 (RGB) or 1 (gray)")
    train_files, test_files = find_splits(Path(root))
    columns = find_columns(train_files[0], image_column, label_column)
    train_rows = _choose_rows(train_files, columns, train_limit, seed)
    test_rows = _choose_rows(test_files, columns, test_limit, seed)
    names = columns.class_names or _numbers(train_rows)
    for rows in (train_rows, test_rows):  # before the long work of decoding
        _check_labels(rows, len(names))
    height, width = image_size or _size_of_first(columns, train_rows)
    form = _Form((channels, height, width), resize=image_size is not None)
    train = Images(_read(columns, train_rows, form, track), train_rows.labels, names)
    test = Images(_read(columns, test_rows, form, track), test_rows.labels, names)
    mean, std = channel_statistics(train)
    return Dataset(name="parquet", train=train, test=test, mean=mean, std=std)


@dataclass(frozen=True)
class _Form:
    """What every picture has to be like."""

    shape: tuple[int, int, int]
    """(channels, height, width)"""
    resize: bool
    """Whether a picture of another size is resized; else it is a mistake."""


@dataclass(frozen=True)
class _Rows:
    """The rows of a part that are taken, in the order of the pictures to be."""

    files: list[Path]
    file: Tensor
    """int64 [n], place of each row's file in the list."""
    row: Tensor
    """int64 [n], number of the row in its file."""
    labels: Tensor
    """int64 [n]"""

    def where(self, place: int) -> str:
        return f"{self.files[int(self.file[place])]}, row {int(self.row[place])}"


def _choose_rows(files: list[Path], columns: Columns, limit: int | None, seed: int) -> _Rows:
    labels = [_labels(file, columns) for file in files]
    file = torch.cat([torch.full_like(part, place) for place, part in enumerate(labels)])
    row = torch.cat([torch.arange(len(part)) for part in labels])
    if len(row) == 0:
        raise UserError(f"{files[0]} has no rows")
    chosen = None if limit is None else subset_rows(len(row), limit, seed)
    rows = _Rows(files, file, row, torch.cat(labels))
    return rows if chosen is None else _Rows(files, file[chosen], row[chosen], rows.labels[chosen])


_NO_LABEL = torch.iinfo(torch.int64).min
"""Stands for an empty cell."""


def _labels(file: Path, columns: Columns) -> Tensor:
    check_columns(file, columns)
    column = open_file(file).read(columns=[columns.label]).column(columns.label)
    return torch.from_numpy(column.cast("int64", safe=False).fill_null(_NO_LABEL).to_numpy().copy())


def _numbers(rows: _Rows) -> tuple[str, ...]:
    return tuple(str(label) for label in range(max(int(rows.labels.max()) + 1, 1)))


def _check_labels(rows: _Rows, classes: int) -> None:
    for place in ((rows.labels < 0) | (rows.labels >= classes)).nonzero()[:1, 0].tolist():
        label = int(rows.labels[place])
        said = "no label" if label == _NO_LABEL else f"label {label}"
        raise UserError(f"{rows.where(place)} has {said}; with {classes} classes labels are 0 to {classes - 1}")


def _read(columns: Columns, rows: _Rows, form: _Form, track: Track | None) -> Tensor:
    total = len(rows.labels)
    images = torch.empty((total, *form.shape), dtype=torch.uint8)
    done: Iterable[int] = _decode(_cells(columns, rows), rows, form, images.numpy())
    for _ in done if track is None else track(done, total):
        pass
    return images


def _size_of_first(columns: Columns, rows: _Rows) -> tuple[int, int]:
    cells = next(_cells(columns, rows))
    picture = _open(cells.contents[0], rows, cells.places[0])
    return picture.height, picture.width


@dataclass(frozen=True)
class _Cells:
    """The bytes of some pictures, and the places that these take among all."""

    places: list[int]
    contents: list[bytes | None]


def _cells(columns: Columns, rows: _Rows) -> Iterator[_Cells]:
    """The bytes of the rows, one group of rows at a time; groups of which none is taken are not read."""
    for number, path in enumerate(rows.files):
        file = open_file(path)
        end = 0
        for group in range(file.num_row_groups):
            begin, end = end, end + file.metadata.row_group(group).num_rows
            taken = (rows.file == number) & (rows.row >= begin) & (rows.row < end)
            places = taken.nonzero()[:, 0]
            if len(places):
                column = file.read_row_group(group, columns=[columns.image]).column(columns.image)
                column = column.take(pa.array((rows.row[places] - begin).numpy()))
                if pa.types.is_struct(column.type):
                    column = pc.struct_field(column, "bytes")
                yield _Cells(places.tolist(), column.to_pylist())


def _decode(cells: Iterable[_Cells], rows: _Rows, form: _Form, images: Array) -> Iterator[int]:
    """Decodes into ``images``, uint8 [n, channels, height, width]; counts the pictures as they are done."""

    def decode_some(some: _Cells) -> int:
        for place, content in zip(some.places, some.contents, strict=True):
            images[place] = _pixels(content, rows, place, form)
        return len(some.places)

    done = 0
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for group in cells:
            for count in threads.map(decode_some, _chunks(group)):
                yield from range(done, done + count)
                done += count


def _chunks(cells: _Cells) -> list[_Cells]:
    begins = range(0, len(cells.places), _CHUNK)
    return [_Cells(cells.places[b : b + _CHUNK], cells.contents[b : b + _CHUNK]) for b in begins]


def _pixels(content: bytes | None, rows: _Rows, place: int, form: _Form) -> Array:
    channels, height, width = form.shape
    picture = _open(content, rows, place)
    try:
        picture = picture.convert("RGB" if channels == 3 else "L")
    except _UNDECODABLE as error:
        raise _undecodable(rows, place, error) from error
    if picture.size != (width, height):
        if not form.resize:
            raise UserError(
                f"{rows.where(place)}: the picture is {picture.height}x{picture.width}, "
                f"the first one to train on {height}x{width}; "
                "give image_size: [height, width] to bring all to one size"
            )
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture)
    return pixels.transpose(2, 0, 1) if channels == 3 else pixels[None]


_UNDECODABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for contents that are no picture, or a damaged one."""


def _open(content: bytes | None, rows: _Rows, place: int) -> Image.Image:
    """A picture whose head has been read, but no pixels yet."""
    if content is None:
        raise UserError(f"{rows.where(place)}: the cell holds no bytes of a picture")
    try:
        return Image.open(BytesIO(content))
    except _UNDECODABLE as error:
        raise _undecodable(rows, place, error) from error


def _undecodable(rows: _Rows, place: int, error: Exception) -> UserError:
    reason = "no known picture format" if isinstance(error, UnidentifiedImageError) else str(error)
    return UserError(f"{rows.where(place)}: the picture cannot be decoded ({reason})")
