"""Image files found in folders of classes, and their bytes."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from smskd.data.images import class_mapping
from smskd.data.sources.image_decoding import MAX_PIXELS, encoded_limit
from smskd.data.sources.packed_paths import PackedPaths
from smskd.errors import UserError

SUFFIXES = (
    ".avif",
    ".bmp",
    ".gif",
    ".jfif",
    ".jp2",
    ".jpeg",
    ".jpg",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)


@dataclass(frozen=True)
class ImageFiles:
    """The image files of a part and their labels."""

    threads: ClassVar[bool] = True

    paths: Sequence[str]
    """Held as :class:`~smskd.data.sources.packed_paths.PackedPaths`."""
    labels: Tensor
    """int64 [n]"""
    class_names: tuple[str, ...]
    max_pixels: int = MAX_PIXELS
    """A file that is too large for an image of so many pixels is refused."""

    def __post_init__(self) -> None:
        if not isinstance(self.paths, PackedPaths):
            object.__setattr__(self, "paths", PackedPaths(self.paths))

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, row: int) -> tuple[bytes, str]:
        """The bytes of a file, and its path.

        Raises:
            UserError: see :func:`read_file`.
        """
        path = self.paths[row]
        return read_file(path, self.max_pixels), path

    def with_classes(self, class_names: tuple[str, ...]) -> "ImageFiles":
        """The same files with the labels that their classes have in another list of names.

        Raises:
            UserError: one of the classes is not in that list.
        """
        labels = class_mapping(self.class_names, class_names)[self.labels]
        return replace(self, labels=labels, class_names=class_names)


def find_image_files(folder: Path, max_pixels: int = MAX_PIXELS) -> ImageFiles:
    """The images in ``folder/CLASS/**``, in the order of ``torchvision.datasets.ImageFolder``.

    Links are followed, and each folder is visited once a class, so that links in a circle come to an end.

    Raises:
        UserError: there is no folder, no class or a class without images, there are images outside of classes, or a
            folder cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; root has to be the folder that contains train and test or val")
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        found = {name: list(_images_below(folder / name)) for name in names}
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be read: {error.strerror}") from error
    loose = image_names(folder)
    if not found:
        images = f"{len(loose)} images but " if loose else ""
        raise UserError(f"{folder} has {images}no folders; each class needs one")
    if loose:
        raise UserError(
            f"{folder} has class folders and, beside them, {len(loose)} images, whose class is unknown, such as "
            f"{min(loose)}; move these elsewhere"
        )
    for name, paths in found.items():
        if not paths:
            raise UserError(f"{folder / name} has no images ({', '.join(SUFFIXES)})")
    labels = torch.repeat_interleave(torch.tensor([len(paths) for paths in found.values()]))
    return ImageFiles([path for paths in found.values() for path in paths], labels, tuple(names), max_pixels)


def image_names(folder: Path) -> set[str]:
    """The names of the image files in a folder itself.

    Raises:
        UserError: there is no such folder, or it cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    try:
        return {name for name in os.listdir(folder) if name.lower().endswith(SUFFIXES)}
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}") from error


def read_file(path: str, max_pixels: int) -> bytes:
    """The bytes of an image file.

    Raises:
        UserError: it cannot be read, is not a regular file, or is too large for an image of so many pixels.
    """
    try:
        if not os.path.isfile(path):
            raise UserError(f"{path} is not a file, or a broken link")
        size, limit = os.path.getsize(path), encoded_limit(max_pixels)
        if size > limit:
            raise UserError(f"{path} has {size} bytes, too many for an image of {max_pixels} pixels (max_pixels)")
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _images_below(folder: Path) -> Iterator[str]:
    for parent, names in sorted(_walked(folder)):
        yield from (os.path.join(parent, name) for name in sorted(names) if name.lower().endswith(SUFFIXES))


def _walked(folder: Path) -> Iterator[tuple[str, list[str]]]:
    def fail(error: OSError) -> None:
        raise error  # os.walk would leave out a folder that it cannot read

    visited: set[tuple[int, int]] = set()
    for parent, below, names in os.walk(folder, followlinks=True, onerror=fail):
        facts = os.stat(parent)
        if (facts.st_dev, facts.st_ino) in visited:
            below.clear()
            continue
        visited.add((facts.st_dev, facts.st_ino))
        below.sort()
        yield parent, names
