"""Labelled images in Parquet files, as the Hugging Face hub stores image data sets.

An image is one cell: the bytes of a PNG, JPEG or the like, alone or as the field ``bytes`` of a struct.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from torch import Tensor

from smskd.config.data import SubsetConfig
from smskd.config.paths import expanded
from smskd.data.dataset import Dataset
from smskd.data.images import Images
from smskd.data.memory import allocate_images
from smskd.data.sources.catalog import Track
from smskd.data.sources.encoded_dataset import encoded_dataset, streams
from smskd.data.sources.image_decoding import (
    MAX_PIXELS,
    Channels,
    ImageForm,
    ImageSize,
    MaxPixels,
    decode_all,
    decode_image,
    size_of_image,
)
from smskd.data.sources.parquet_columns import Columns, find_columns
from smskd.data.sources.parquet_files import find_splits
from smskd.data.sources.parquet_images import parquet_images
from smskd.data.sources.parquet_reading import Cell, read_cells
from smskd.data.sources.parquet_rows import ImageRows, labelled_rows
from smskd.data.statistics import whole_statistics


def parquet(
    root: str | Path,
    image_column: str | None = None,
    label_column: str | None = None,
    image_size: ImageSize | None = None,
    channels: Channels = 3,
    max_pixels: MaxPixels = MAX_PIXELS,
    streaming: bool | None = None,
    *,
    subset: SubsetConfig | None = None,
    track: Track | None = None,
) -> Dataset:
    """The training and test images of a folder of Parquet files.

    Classes are those of the whole training part, and so are mean and standard deviation, whatever subset is used. Of
    more than 4,096 images these are taken from a fixed choice of 4,096 in which each class has its share. Files that
    list the classes in different orders are matched by the classes' names. Images are decoded as a viewer displays
    them: see :func:`smskd.data.pil_images.as_bytes`.

    Args:
        root: folder with files or subfolders of each part: ``train`` and ``test``, or ``validation`` where
            there is no ``test``; see :func:`~smskd.data.sources.parquet_files.find_splits`.
        image_column: name of the images' column; default: found as in
            :func:`~smskd.data.sources.parquet_columns.find_columns`.
        label_column: name of the labels' column; likewise.
        image_size: (height, width) to which all images are resized, bilinear with antialiasing; default: they keep
            their size, and then all must be of one size.
        channels: 3 converts every image to RGB, 1 to gray; default 3.
        max_pixels: an encoded image with more pixels is refused, since a file of some kilobytes can decode to
            gigabytes; default 67,108,864 (8192x8192), at most 178,956,970, the limit of Pillow.
        streaming: decode an image whenever it is needed, instead of keeping all in memory as bytes; the results are the
            same. The encoded images of the files, which Parquet compresses in groups, are then copied once to the
            folder ``parquet`` of ``SMSKD_CACHE``, or of ``smskd`` in the user's folder for caches, where each can be
            read alone. Default: where their pixels take more than 512 MiB, or as ``data.loader.kind`` says.
        subset: keep only these images.
        track: shows progress; it is called for each part with the running numbers of its images and how many they are.

    Raises:
        UserError: files or columns are missing or damaged, an image cannot be decoded or has another size, or a label
            is not a class: file and row (counted from 0) are named; or the images do not fit in memory, or their copies
            on the disk.
    """
    subset = subset or SubsetConfig()
    train_files, test_files = find_splits(expanded(root))
    columns = find_columns(train_files[0], image_column, label_column)
    whole_train, whole_test, names = labelled_rows(train_files, test_files, columns)
    height, width = image_size or _size_of_first(columns, whole_train, max_pixels)
    form = ImageForm((channels, height, width), resize=image_size is not None, max_pixels=max_pixels)
    train_rows = whole_train.chosen(subset.train, subset.seed)
    test_rows = whole_test.chosen(subset.test, subset.seed)
    if streams(streaming, len(train_rows) + len(test_rows), form.shape):
        streamed_train, streamed_test = (
            parquet_images(rows, columns.image, names, max_pixels, track) for rows in (whole_train, whole_test)
        )
        return encoded_dataset(
            "parquet", streamed_train, streamed_test, form, subset=subset, streaming=True, track=track
        )
    train = Images(_read(columns, train_rows, form, "training", track), train_rows.labels, names)
    test = Images(_read(columns, test_rows, form, "test", track), test_rows.labels, names)

    def pixels(rows: Tensor) -> Tensor:
        return train.pixels[rows] if train_rows is whole_train else _read(columns, whole_train.take(rows), form)

    mean, std = whole_statistics(whole_train.labels, len(names), pixels, None if train_rows is whole_train else track)
    return Dataset(name="parquet", train=train, test=test, mean=mean, std=std)


def _size_of_first(columns: Columns, rows: ImageRows, max_pixels: int) -> tuple[int, int]:
    file, row = rows.files[int(rows.file[0])], rows.row[:1]
    ((_, content),) = next(read_cells(file, columns.image, row))
    return size_of_image(content, rows.where(0), max_pixels)


def _read(
    columns: Columns, rows: ImageRows, form: ImageForm, part: str = "training", track: Track | None = None
) -> Tensor:
    total = len(rows)
    pixels = allocate_images(total, form.shape, part)
    array = pixels.numpy()

    def decode(cell: Cell) -> None:
        place, content = cell
        array[place] = decode_image(content, rows.where(place), form)

    done: Iterable[int] = decode_all(_cells(columns, rows), decode)
    for _ in done if track is None else track(done, total):
        pass
    return pixels


def _cells(columns: Columns, rows: ImageRows) -> Iterator[list[Cell]]:
    """The place of each image among all, and its bytes."""
    for number, path in enumerate(rows.files):
        places = (rows.file == number).nonzero()[:, 0]
        places = places[rows.row[places].argsort()]
        for cells in read_cells(path, columns.image, rows.row[places]) if len(places) else ():
            here, places = places[: len(cells)], places[len(cells) :]
            yield [(place, content) for place, (_, content) in zip(here.tolist(), cells, strict=True)]
