"""Labelled images in folders, one folder per class."""

from pathlib import Path

from smskd.config.data import SubsetConfig
from smskd.config.paths import expanded
from smskd.data.dataset import Dataset
from smskd.data.sources.catalog import Track
from smskd.data.sources.decoded_files import decoded_dataset
from smskd.data.sources.image_decoding import MAX_PIXELS, Channels, ImageSize, MaxPixels
from smskd.data.sources.image_files import find_image_files
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
    folder = expanded(root)
    train, test = find_image_files(folder / "train"), find_image_files(test_folder(folder))
    try:
        test = test.with_classes(train.class_names)
    except UserError as error:
        raise UserError(f"test images: {error}") from None
    return decoded_dataset("image_folder", train, test, image_size, channels, max_pixels, subset, track)


def test_folder(root: Path) -> Path:
    """The folder of the test part."""
    found = [root / name for name in _TEST if (root / name).is_dir()]
    if not found:
        raise UserError(f"{root} has no folder test or val")
    return found[0]
