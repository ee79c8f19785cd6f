"""The encoded images of Parquet files one at a time, out of copies in which each can be found."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from smskd.data.sources.catalog import Track
from smskd.data.sources.image_decoding import encoded_limit
from smskd.data.sources.parquet_copies import Copy, copied, existing_copy
from smskd.data.sources.parquet_rows import ImageRows
from smskd.errors import UserError


@dataclass(frozen=True, eq=False)
class ParquetImages:
    """Labelled encoded images of Parquet files.

    Args:
        rows: all rows of the files.
        copies: of the files, in their order.
        class_names: one name per class.
        max_pixels: an image with too many bytes for so many pixels is refused.
    """

    threads: ClassVar[bool] = True

    rows: ImageRows
    copies: list[Copy]
    class_names: tuple[str, ...]
    max_pixels: int

    @property
    def labels(self) -> Tensor:
        """int64 [N]"""
        return self.rows.labels

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, row: int) -> tuple[bytes | None, str]:
        """The bytes of an image, and its place for messages.

        Raises:
            UserError: it is too large, or the copy has been changed.
        """
        where = self.rows.where(row)
        copy, own = self.copies[int(self.rows.file[row])], int(self.rows.row[row])
        size = int(copy.sizes[own])
        if size > encoded_limit(self.max_pixels):
            raise UserError(f"{where}: the image has {size} bytes, too many for {self.max_pixels} pixels (max_pixels)")
        return copy.read(own), where


def parquet_images(
    rows: ImageRows, column: str, class_names: tuple[str, ...], max_pixels: int, track: Track | None = None
) -> ParquetImages:
    """The images of a part; copies of its files are made where there are none yet.

    Args:
        rows: all rows of the files.
        column: of the images.
        class_names: one name per class.
        max_pixels: see :class:`ParquetImages`.
        track: shows progress of copying.

    Raises:
        UserError: a file is damaged, or a copy cannot be made.
    """
    counts = torch.bincount(rows.file, minlength=len(rows.files)).tolist()
    files = list(zip(rows.files, counts, strict=True))
    missing = [(path, count) for path, count in files if existing_copy(path, column, count) is None]

    def progress() -> Iterator[int]:
        done = 0
        for path, count in missing:
            for images in copied(path, column, count):
                yield from range(done, done + images)
                done += images

    if missing:
        for _ in progress() if track is None else track(progress(), sum(count for _, count in missing)):
            pass
    copies = [existing_copy(path, column, count) for path, count in files]
    if any(copy is None for copy in copies):
        raise UserError(f"{rows.files[0].parent}: a file has been changed while it was read; start again")
    return ParquetImages(rows, [copy for copy in copies if copy is not None], class_names, max_pixels)
