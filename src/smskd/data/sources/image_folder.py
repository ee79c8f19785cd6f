"""Labelled images in folders, one folder per class."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import ImageFolder

from smskd.config.data import SubsetConfig
from smskd.data.dataset import Dataset
from smskd.data.images import Images, channel_statistics, class_mapping, subset_rows
from smskd.data.sources.catalog import Track
from smskd.data.sources.image_decoding import Channels, ImageForm, ImageSize, decode_all, decode_image, open_image
from smskd.errors import UserError

_TEST = ("test", "val", "validation", "valid")
"""The first one that exists is used."""


def image_folder(
    root: str | Path,
    image_size: ImageSize | None = None,
    channels: Channels = 3,
    *,
    subset: SubsetConfig | None = None,
    track: Track | None = None,
) -> Dataset:
    """The images of a folder ``root/train/CLASS/*`` and ``root/test/CLASS/*``, or ``root/val`` where there is no test.

    All images are decoded and kept in memory as bytes. Mean and standard deviation are those of the training images
    that are loaded. Files are found by ``torchvision.datasets.ImageFolder``.

    Args:
        root: the folder that contains ``train`` and ``test`` or ``val``; the classes are named as their folders.
        image_size: (height, width) to which all images are resized, bilinear with antialiasing; default: they keep
            their size, and then all must be of one size.
        channels: 3 converts every image to RGB, 1 to gray; default 3.
        subset: decode only these images.
        track: shows progress; it is called for each part with the running numbers of its images and how many they are.

    Raises:
        UserError: a folder is missing or has no images, an image cannot be decoded or has another size, or test
            images have a class without training images; the file is named.
    """
    subset = subset or SubsetConfig()
    folder = Path(root).expanduser()
    train_files = _find(folder / "train")
    test_files = _with_classes(_find(_test_folder(folder)), train_files.class_names)
    train_files = _chosen(train_files, subset.train, subset.seed)
    test_files = _chosen(test_files, subset.test, subset.seed)
    height, width = image_size or _size(train_files.paths[0])
    form = ImageForm((channels, height, width), resize=image_size is not None)
    train, test = (_read(files, form, track) for files in (train_files, test_files))
    mean, std = channel_statistics(train)
    return Dataset(name="image_folder", train=train, test=test, mean=mean, std=std)


@dataclass(frozen=True)
class _Files:
    paths: list[str]
    labels: Tensor
    """int64 [n]"""
    class_names: tuple[str, ...]


def _test_folder(root: Path) -> Path:
    found = [root / name for name in _TEST if (root / name).is_dir()]
    if not found:
        raise UserError(f"{root} has no folder test or val")
    return found[0]


def _find(folder: Path) -> _Files:
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; root has to be the folder that contains train and test or val")
    try:
        found = ImageFolder(str(folder))
    except FileNotFoundError as error:
        raise UserError(" ".join(str(error).split())) from error
    paths = [path for path, _ in found.samples]
    return _Files(paths, torch.tensor(found.targets, dtype=torch.int64), tuple(found.classes))


def _with_classes(files: _Files, class_names: tuple[str, ...]) -> _Files:
    try:
        mapping = class_mapping(files.class_names, class_names)
    except UserError as error:
        raise UserError(f"test images: {error}") from None
    return _Files(files.paths, mapping[files.labels], class_names)


def _chosen(files: _Files, limit: int | None, seed: int) -> _Files:
    rows = None if limit is None else subset_rows(len(files.paths), limit, seed)
    if rows is None:
        return files
    return _Files([files.paths[row] for row in rows.tolist()], files.labels[rows], files.class_names)


def _size(path: str) -> tuple[int, int]:
    image = open_image(Path(path).read_bytes(), path)
    return image.height, image.width


def _read(files: _Files, form: ImageForm, track: Track | None) -> Images:
    total = len(files.paths)
    pixels = torch.empty((total, *form.shape), dtype=torch.uint8)
    array = pixels.numpy()

    def decode(place: int) -> None:
        path = files.paths[place]
        array[place] = decode_image(Path(path).read_bytes(), path, form)

    done: Iterable[int] = decode_all([range(total)], decode)
    for _ in done if track is None else track(done, total):
        pass
    return Images(pixels, files.labels, files.class_names)
