"""Labelled images in folders, one folder per class."""

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from smskd.config.data import SubsetConfig
from smskd.config.paths import expanded
from smskd.data.dataset import Dataset
from smskd.data.images import Images
from smskd.data.memory import allocate_images
from smskd.data.sources.catalog import Track
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
from smskd.data.sources.image_files import ImageFiles, find_image_files, read_file
from smskd.data.statistics import whole_statistics
from smskd.errors import UserError

_TEST = ("test", "val", "validation", "valid")
"""The first one that exists is used."""


def image_folder(
    root: str | Path,
    image_size: ImageSize | None = None,
    channels: Channels = 3,
    max_pixels: MaxPixels = MAX_PIXELS,
    *,
    subset: SubsetConfig | None = None,
    track: Track | None = None,
) -> Dataset:
    """The images of a folder ``root/train/CLASS/*`` and ``root/test/CLASS/*``, or ``root/val`` where there is no test.

    All images are decoded and kept in memory as bytes, as a viewer displays them: see
    :func:`smskd.data.pil_images.as_bytes`. Mean and standard deviation are those of the whole training part, whatever
    subset is used. Of more than 4,096 images they are taken from a fixed choice of 4,096 in which each class has its
    share. Files are found in the order of ``torchvision.datasets.ImageFolder``; links are followed.

    Args:
        root: the folder that contains ``train`` and ``test`` or ``val``; the classes are named as their folders.
        image_size: (height, width) to which all images are resized, bilinear with antialiasing; default: they keep
            their size, and then all must be of one size.
        channels: 3 converts every image to RGB, 1 to gray; default 3.
        max_pixels: an encoded image with more pixels is refused, since a file of some kilobytes can decode to
            gigabytes; default 67,108,864 (8192x8192), at most 178,956,970, the limit of Pillow.
        subset: keep only these images.
        track: shows progress; it is called for each part with the running numbers of its images and how many they are.

    Raises:
        UserError: a folder is missing or has no images, an image cannot be read or decoded or has another size, or
            test images have a class without training images: the file is named; or the images do not fit in memory.
    """
    subset = subset or SubsetConfig()
    folder = expanded(root)
    whole_train, whole_test = find_image_files(folder / "train"), find_image_files(_test_folder(folder))
    try:
        whole_test = whole_test.with_classes(whole_train.class_names)
    except UserError as error:
        raise UserError(f"test images: {error}") from None
    train_files = whole_train.chosen(subset.train, subset.seed)
    test_files = whole_test.chosen(subset.test, subset.seed)
    height, width = image_size or _size(whole_train.paths[0], max_pixels)
    form = ImageForm((channels, height, width), resize=image_size is not None, max_pixels=max_pixels)
    train, test = _read(train_files, form, "training", track), _read(test_files, form, "test", track)

    def pixels(rows: Tensor) -> Tensor:
        return (train.take(rows) if train_files is whole_train else _read(whole_train.take(rows), form)).pixels

    mean, std = whole_statistics(
        whole_train.labels, train.classes, pixels, None if train_files is whole_train else track
    )
    return Dataset(name="image_folder", train=train, test=test, mean=mean, std=std)


def _test_folder(root: Path) -> Path:
    found = [root / name for name in _TEST if (root / name).is_dir()]
    if not found:
        raise UserError(f"{root} has no folder test or val")
    return found[0]


def _size(path: str, max_pixels: int) -> tuple[int, int]:
    return size_of_image(read_file(path, max_pixels), path, max_pixels)


def _read(files: ImageFiles, form: ImageForm, part: str = "training", track: Track | None = None) -> Images:
    total = len(files)
    pixels = allocate_images(total, form.shape, part)
    array = pixels.numpy()

    def decode(place: int) -> None:
        path = files.paths[place]
        array[place] = decode_image(read_file(path, form.max_pixels), path, form)

    done: Iterable[int] = decode_all([range(total)], decode)
    for _ in done if track is None else track(done, total):
        pass
    return Images(pixels, files.labels, files.class_names)
