"""Labelled images in Parquet files, as the Hugging Face hub stores image data sets.

An image is one cell: the bytes of a PNG, JPEG or the like, alone or as the field ``bytes`` of a struct.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from smskd.config.data import SubsetConfig
from smskd.data.dataset import Dataset
from smskd.data.images import Images, channel_statistics, subset_rows
from smskd.data.sources.catalog import Track
from smskd.data.sources.image_decoding import Channels, ImageForm, ImageSize, decode_all, decode_image, open_image
from smskd.data.sources.parquet_columns import Columns, check_columns, find_columns, open_file
from smskd.data.sources.parquet_files import find_splits
from smskd.errors import UserError


def parquet(
    root: str | Path,
    image_column: str | None = None,
    label_column: str | None = None,
    image_size: ImageSize | None = None,
    channels: Channels = 3,
    *,
    subset: SubsetConfig | None = None,
    track: Track | None = None,
) -> Dataset:
    """The training and test images of a folder of Parquet files.

    Mean and standard deviation are those of the training images that are loaded.

    Args:
        root: folder with files or subfolders of each part: ``train`` and ``test``, or ``validation`` where
            there is no ``test``; see :func:`~smskd.data.sources.parquet_files.find_splits`.
        image_column: name of the images' column; default: found as in
            :func:`~smskd.data.sources.parquet_columns.find_columns`.
        label_column: name of the labels' column; likewise.
        image_size: (height, width) to which all images are resized, bilinear with antialiasing; default: they keep
            their size, and then all must be of one size.
        channels: 3 converts every image to RGB, 1 to gray; default 3.
        subset: decode only these images. Groups of rows of which none is taken are not read.
        track: shows progress; it is called for each part with the running numbers of its images and how many they are.

    Raises:
        UserError: files or columns are missing, an image cannot be decoded or has another size, or a label
            is not a class; file and row (counted from 0) are named.
    """
    subset = subset or SubsetConfig()
    train_files, test_files = find_splits(Path(root).expanduser())
    columns = find_columns(train_files[0], image_column, label_column)
    train_rows = _choose_rows(train_files, columns, subset.train, subset.seed)
    test_rows = _choose_rows(test_files, columns, subset.test, subset.seed)
    names = columns.class_names or _numbers(train_rows)
    for rows in (train_rows, test_rows):  # before the long work of decoding
        _check_labels(rows, len(names))
    height, width = image_size or _size_of_first(columns, train_rows)
    form = ImageForm((channels, height, width), resize=image_size is not None)
    train = Images(_read(columns, train_rows, form, track), train_rows.labels, names)
    test = Images(_read(columns, test_rows, form, track), test_rows.labels, names)
    mean, std = channel_statistics(train)
    return Dataset(name="parquet", train=train, test=test, mean=mean, std=std)


@dataclass(frozen=True)
class _Rows:
    """The rows of a part that are taken, in the order of the images to be."""

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
        found = "no label" if label == _NO_LABEL else f"label {label}"
        raise UserError(f"{rows.where(place)} has {found}; with {classes} classes labels are 0 to {classes - 1}")


_Cell = tuple[int, bytes | None]
"""The place of an image among all, and its bytes."""


def _read(columns: Columns, rows: _Rows, form: ImageForm, track: Track | None) -> Tensor:
    total = len(rows.labels)
    pixels = torch.empty((total, *form.shape), dtype=torch.uint8)
    array = pixels.numpy()

    def decode(cell: _Cell) -> None:
        place, content = cell
        array[place] = decode_image(content, rows.where(place), form)

    done: Iterable[int] = decode_all(_cells(columns, rows), decode)
    for _ in done if track is None else track(done, total):
        pass
    return pixels


def _size_of_first(columns: Columns, rows: _Rows) -> tuple[int, int]:
    place, content = next(_cells(columns, rows))[0]
    image = open_image(content, rows.where(place))
    return image.height, image.width


def _cells(columns: Columns, rows: _Rows) -> Iterator[list[_Cell]]:
    """The bytes of the rows, one group of rows at a time; groups of which none is taken are not read."""
    for number, path in enumerate(rows.files):
        file = open_file(path)
        end = 0
        for group in range(file.num_row_groups):
            begin, end = end, end + file.metadata.row_group(group).num_rows
            taken = (rows.file == number) & (rows.row >= begin) & (rows.row < end)
            places = taken.nonzero()[:, 0]
            if len(places):
                contents = _contents(file, group, columns.image, rows.row[places] - begin)
                yield list(zip(places.tolist(), contents, strict=True))


def _contents(file: Any, group: int, name: str, rows: Tensor) -> list[bytes | None]:
    column = file.read_row_group(group, columns=[name]).column(name).take(pa.array(rows.numpy()))
    if pa.types.is_struct(column.type):
        column = pc.struct_field(column, "bytes")
    contents: list[bytes | None] = column.to_pylist()
    return contents
