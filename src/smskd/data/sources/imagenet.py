"""ImageNet of ILSVRC 2012, in the folders of its archives, read one image at a time.

O. Russakovsky et al.: ImageNet Large Scale Visual Recognition Challenge (IJCV 2015).
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from PIL import Image
from pydantic import PositiveInt

from smskd.config.data import SubsetConfig
from smskd.config.paths import expanded
from smskd.data.dataset import Dataset
from smskd.data.pil_images import Array
from smskd.data.sources.catalog import Track
from smskd.data.sources.encoded_dataset import encoded_dataset
from smskd.data.sources.image_decoding import MAX_PIXELS, ImageSize, channels_first, displayed_image
from smskd.data.sources.image_files import ImageFiles, find_image_files, image_names
from smskd.data.sources.imagenet_devkit import labelled_by_devkit
from smskd.errors import UserError

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""As torchvision, timm and transformers use them for ImageNet."""


def imagenet(
    root: str | Path,
    image_size: ImageSize = (224, 224),
    shorter_side: PositiveInt | None = None,
    devkit: str | Path | None = None,
    streaming: bool = True,
    *,
    subset: SubsetConfig | None = None,
    track: Track | None = None,
) -> Dataset:
    """ImageNet: 1,281,167 training and 50,000 test images in 1,000 classes, decoded whenever they are needed.

    Training and test images alike are resized so that their shorter side has ``shorter_side`` pixels, bilinear with
    antialiasing, and cropped at the centre to ``image_size``, as ``Resize`` and ``CenterCrop`` of torchvision do. By
    default training images are mirrored, but not cropped at random; with ``data.augmentation.random_resized_crop`` they
    are random resized crops of the whole pictures, which have to be streamed. The test part is ``val``: the labels of
    ``test`` were never published. The classes are the ids of WordNet, such as ``n01440764``, in ascending order. Mean
    and standard deviation are the usual ones.

    Args:
        root: the folder that contains ``train/ID/*.JPEG`` and either ``val/ID/*.JPEG`` or ``val/*.JPEG``.
        image_size: (height, width) of the images; default 224x224.
        shorter_side: pixels of the shorter side before the centre is cropped; default: 8/7 of the larger one of height
            and width, which makes 256 for 224.
        devkit: the unpacked development kit, whose labels belong to ``val/*.JPEG``; default:
            ``root/ILSVRC2012_devkit_t12``. A ``val`` with class folders needs none.
        streaming: decode an image whenever it is needed, instead of keeping all in memory as bytes; default true.
        subset: the images that are used.
        track: shows progress; it is called for each part with the running numbers of its images and how many they are.

    Raises:
        UserError: a folder or file is missing, test images have a class without training images, or labels and images
            of ``val`` differ; in training, an image cannot be read or decoded.
    """
    form = CentreCrop(image_size, shorter_side or default_shorter_side(image_size))
    train, test = parts(expanded(root), None if devkit is None else expanded(devkit))
    dataset = encoded_dataset(
        "imagenet", train, test, form, subset=subset, streaming=streaming, track=track, statistics=(_MEAN, _STD)
    )
    return replace(dataset, padding=0)


def default_shorter_side(image_size: tuple[int, int]) -> int:
    """The pixels of the shorter side from which images of (height, width) are cropped: 256 for 224."""
    return round(max(image_size) * 8 / 7)


def parts(root: Path, devkit: Path | None = None) -> tuple[ImageFiles, ImageFiles]:
    """The files of training and test images, which count the same classes.

    Raises:
        UserError: see :func:`imagenet`.
    """
    train = find_image_files(root / "train")
    return train, _test_files(root / "val", train.class_names, devkit or root / "ILSVRC2012_devkit_t12")


@dataclass(frozen=True)
class CentreCrop:
    """Decodes an image, resizes it by its shorter side and crops its centre.

    Args:
        size: (height, width) of the result.
        shorter_side: in pixels.

    Raises:
        UserError: the shorter side is smaller than the crop.
    """

    size: tuple[int, int]
    shorter_side: int
    resize: ClassVar[bool] = True
    max_pixels: ClassVar[int] = MAX_PIXELS

    def __post_init__(self) -> None:
        if self.shorter_side < max(self.size):
            raise UserError(
                f"shorter_side is {self.shorter_side}; image_size {list(self.size)} needs {max(self.size)} or more"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)"""
        return 3, *self.size

    def __call__(self, content: bytes | None, where: str) -> Array:
        """uint8 [3, height, width] of the bytes of an image and its place, which messages name."""
        image = displayed_image(content, where, 3)
        short = min(image.size)
        width, height = (int(self.shorter_side * length / short) for length in image.size)
        if width * height > MAX_PIXELS:
            raise UserError(f"{where}: the image is {image.height}x{image.width}, too long to be cropped")
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        top, left = round((height - self.size[0]) / 2), round((width - self.size[1]) / 2)
        return channels_first(image.crop((left, top, left + self.size[1], top + self.size[0])))


def _test_files(folder: Path, class_names: tuple[str, ...], devkit: Path) -> ImageFiles:
    names = image_names(folder)
    has_folders = any(entry.is_dir() for entry in os.scandir(folder))
    if names and has_folders:
        raise UserError(f"{folder} has class folders and, beside them, {len(names)} images, whose class is unknown")
    if names:
        return labelled_by_devkit(folder, names, class_names, devkit)
    try:
        return find_image_files(folder).with_classes(class_names)
    except UserError as error:
        raise UserError(f"test images: {error}") from None
