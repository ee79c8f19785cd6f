"""Labelled images in folders, one folder per class."""

from pathlib import Path

from smskd.config.data import SubsetConfig
from smskd.config.paths import expanded
from smskd.data.dataset import Dataset
from smskd.data.sources.catalog import Track
from smskd.data.sources.encoded_dataset import encoded_dataset, form_of
from smskd.data.sources.image_decoding import MAX_PIXELS, Channels, ImageSize, MaxPixels
from smskd.data.sources.image_files import ImageFiles, find_image_files
from smskd.errors import UserError

_TEST = ("test", "val", "validation", "valid")
"""The first one that exists is used."""


def image_folder(
    root: str | Path,
    image_size: ImageSize | None = None,
    channels: Channels = 3,
    max_pixels: MaxPixels = MAX_PIXELS,
    streaming: bool | None = None,
    *,
    subset: SubsetConfig | None = None,
    track: Track | None = None,
) -> Dataset:
    """The images of a folder ``root/train/CLASS/*`` and ``root/test/CLASS/*``, or ``root/val`` where there is no test.

    Images are decoded as a viewer displays them: see :func:`smskd.data.pil_images.as_bytes`. Mean and standard
    deviation are those of the whole training part, whatever subset is used. Of more than 4,096 images they are taken
    from a fixed choice of 4,096 in which each class has its share. Files are found in the order of
    ``torchvision.datasets.ImageFolder``; links are followed.

    Args:
        root: the folder that contains ``train`` and ``test`` or ``val``; the classes are named as their folders.
        image_size: (height, width) to which all images are resized, bilinear with antialiasing; default: they keep
            their size, and then all must be of one size.
        channels: 3 converts every image to RGB, 1 to gray; default 3.
        max_pixels: an encoded image with more pixels is refused, since a file of some kilobytes can decode to
            gigabytes; default 67,108,864 (8192x8192), at most 178,956,970, the limit of Pillow.
        streaming: decode an image whenever it is needed, instead of keeping all in memory as bytes; the results are the
            same. Default: where their pixels take more than 512 MiB, or as ``data.loader.kind`` says.
        subset: keep only these images.
        track: shows progress; it is called for each part with the running numbers of its images and how many they are.

    Raises:
        UserError: a folder is missing or has no images, an image cannot be read or decoded or has another size, or
            test images have a class without training images: the file is named; or the images do not fit in memory.
    """
    train, test = parts(expanded(root), max_pixels)
    form = form_of(train, image_size, channels, max_pixels)
    return encoded_dataset("image_folder", train, test, form, subset=subset, streaming=streaming, track=track)


def parts(root: Path, max_pixels: int = MAX_PIXELS) -> tuple[ImageFiles, ImageFiles]:
    """The files of training and test images, which count the same classes.

    Raises:
        UserError: a folder is missing or has no images, or test images have a class without training images.
    """
    train, test = find_image_files(root / "train", max_pixels), find_image_files(test_folder(root), max_pixels)
    try:
        return train, test.with_classes(train.class_names)
    except UserError as error:
        raise UserError(f"test images: {error}") from None


def test_folder(root: Path) -> Path:
    """The folder of the test part."""
    found = [root / name for name in _TEST if (root / name).is_dir()]
    if not found:
        raise UserError(f"{root} has no folder test or val")
    return found[0]
