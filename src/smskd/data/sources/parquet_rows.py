"""The labelled rows of the training files and of the test files."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from smskd.data.images import check_labels, class_mapping, numbered_classes, subset_rows
from smskd.data.sources.parquet_columns import Columns, check_columns, class_names
from smskd.data.sources.parquet_reading import NO_LABEL, read_labels
from smskd.errors import UserError

Names = tuple[str, ...]


@dataclass(frozen=True)
class ImageRows:
    """Rows of a part, in the order of the images to be."""

    files: list[Path]
    file: Tensor
    """int64 [n], place of each row's file in the list."""
    row: Tensor
    """int64 [n], number of the row in its file."""
    labels: Tensor
    """int64 [n]"""

    def __len__(self) -> int:
        return len(self.row)

    def where(self, place: int) -> str:
        """The file and the row in it, for messages."""
        return f"{self.files[int(self.file[place])]}, row {int(self.row[place])}"

    def chosen(self, limit: int | None, seed: int) -> "ImageRows":
        """The part that :meth:`smskd.data.Images.subset` takes."""
        rows = None if limit is None else subset_rows(len(self), limit, seed)
        return self if rows is None else self.take(rows)

    def take(self, rows: Tensor) -> "ImageRows":
        """Some rows, int64 [n], in that order."""
        return ImageRows(self.files, self.file[rows], self.row[rows], self.labels[rows])


def labelled_rows(train: list[Path], test: list[Path], columns: Columns) -> tuple[ImageRows, ImageRows, Names]:
    """All rows of both parts, with labels that count the same classes, and the names of these.

    Names are those of the first file that has names; labels of files with the names in another order are matched by
    name. Where no file has names the classes are numbered up to the largest label of the training part.

    Raises:
        UserError: a label is empty or not a class; file and row are named. Or a file has a class that the first one
            lacks.
    """
    for file in (*train, *test):
        check_columns(file, columns)
    listed = {file: class_names(file, columns) for file in (*train, *test)}
    names = next((found for found in listed.values() if found is not None), None)
    train_rows = _rows(train, columns, names, listed)
    if names is None:
        names = numbered_classes(train_rows.labels, train_rows.where)
    test_rows = _rows(test, columns, names, listed)
    for rows in (train_rows, test_rows):
        check_labels(rows.labels, len(names), rows.where)
    return train_rows, test_rows, names


def _rows(files: list[Path], columns: Columns, names: Names | None, listed: dict[Path, Names | None]) -> ImageRows:
    labels = [_labels(file, columns, listed[file], names) for file in files]
    file = torch.cat([torch.full_like(part, place) for place, part in enumerate(labels)])
    row = torch.cat([torch.arange(len(part)) for part in labels])
    if len(row) == 0:
        raise UserError(f"{files[0]} has no rows")
    return ImageRows(files, file, row, torch.cat(labels))


def _labels(file: Path, columns: Columns, own: Names | None, names: Names | None) -> Tensor:
    """The labels of a file, as places in the names of all files."""
    labels = read_labels(file, columns.label)
    for row in (labels == NO_LABEL).nonzero()[:1, 0].tolist():
        raise UserError(f"{file}, row {row} has no label")
    if own is None or names is None:
        return labels
    check_labels(labels, len(own), lambda row: f"{file}, row {row}")
    try:
        return class_mapping(own, names)[labels]
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
