"""Tiny ImageNet, as its archive unpacks: training images in folders of classes, the others in one with a list.

Y. Le, X. Yang: Tiny ImageNet Visual Recognition Challenge (Stanford CS 231N, 2015).
"""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import torch

from smskd.config.data import SubsetConfig
from smskd.config.paths import expanded
from smskd.data.dataset import Dataset
from smskd.data.sources.catalog import Track
from smskd.data.sources.encoded_dataset import encoded_dataset, form_of
from smskd.data.sources.image_decoding import MAX_PIXELS, ImageSize
from smskd.data.sources.image_files import ImageFiles, find_image_files, image_names
from smskd.data.sources.text_files import read_lines
from smskd.errors import UserError

Channels = tuple[float, float, float]
_LIST = "val_annotations.txt"


def tiny_imagenet(
    root: str | Path,
    image_size: ImageSize | None = None,
    streaming: bool | None = None,
    mean: Channels | None = None,
    std: Channels | None = None,
    *,
    subset: SubsetConfig | None = None,
    track: Track | None = None,
) -> Dataset:
    """Tiny ImageNet: 100,000 training and 10,000 test images of 64x64 in 200 classes.

    The test part is ``val``: the labels of ``test`` were never published. The classes are the ids of WordNet that
    ``wnids.txt`` lists, such as ``n01443537``, in ascending order, which is that of
    ``torchvision.datasets.ImageFolder``. Gray images are converted to RGB. Mean and standard deviation are taken from a
    fixed choice of 4,096 training images in which each class has its share. By default images are mirrored, but not
    cropped, as in megvii-research/mdistiller, mdistiller/dataset/tiny_imagenet.py, which rotates them as well.

    Some training images occur twice, a few of them in two classes. All are kept; ``smskd data`` counts them.

    Args:
        root: the unpacked folder, which contains ``wnids.txt``, ``train/ID/images`` and ``val/val_annotations.txt``.
        image_size: (height, width) to which all images are resized, bilinear with antialiasing; default: they keep
            their size.
        streaming: decode an image whenever it is needed, instead of keeping all in memory as bytes; the results are the
            same. Default: where their pixels take more than 512 MiB (those of the
            whole take 1.26 GiB), or as ``data.loader.kind`` says.
        mean: of each channel, of values scaled to 0..1, by which images are normalised; default: as above.
        std: likewise, the standard deviation, above 0; both are given or neither.
        subset: keep only these images.
        track: shows progress; it is called for each part with the running numbers of its images and how many they are.

    Raises:
        UserError: a file or folder is missing, the list of ``val`` and its images differ, or a class is in one place
            but not in the other: the file, and the line in it, are named; an image cannot be read or decoded, or has
            another size; or the images do not fit in memory.
    """
    if (mean is None) != (std is None):
        raise UserError(f"give {'std' if std is None else 'mean'} too: mean and std belong together")
    statistics = None if mean is None or std is None else (mean, std)
    train, test = parts(expanded(root))
    form = form_of(train, image_size, 3, MAX_PIXELS)
    dataset = encoded_dataset(
        "tiny_imagenet", train, test, form, subset=subset, streaming=streaming, track=track, statistics=statistics
    )
    return replace(dataset, padding=0)


def parts(root: Path) -> tuple[ImageFiles, ImageFiles]:
    """The files of training and test images, which count the same classes.

    Raises:
        UserError: see :func:`tiny_imagenet`.
    """
    ids = {line.strip() for line in read_lines(root / "wnids.txt")} - {""}
    train = find_image_files(root / "train")
    _require_same(root / "train", ids, train.class_names, "wnids.txt")
    return train, _validation_images(root / "val", train.class_names)


def _validation_images(folder: Path, class_names: tuple[str, ...]) -> ImageFiles:
    """The images of ``val/images`` in the order of their list."""
    path = folder / _LIST
    if not path.is_file() and (folder / class_names[0]).is_dir():
        raise UserError(f"{path} is missing; the source image_folder reads a val that is sorted into class folders")
    labels = _listed_labels(path, class_names)
    _require_same(folder / "images", labels, image_names(folder / "images"), _LIST)
    if not labels:
        raise UserError(f"{path} lists no images")
    paths = [str(folder / "images" / name) for name in labels]
    return ImageFiles(paths, torch.tensor(list(labels.values()), dtype=torch.int64), class_names)


def _require_same(folder: Path, listed: Collection[str], present: Collection[str], file: str) -> None:
    """Refuses names that are only in a list, or only in the folder."""
    for name in sorted(set(listed) ^ set(present)):
        raise UserError(
            f"{folder / name} " + (f"is missing; {file} lists it" if name in listed else f"is not in {file}")
        )


def _listed_labels(path: Path, class_names: tuple[str, ...]) -> dict[str, int]:
    """The label of each image by its file name. A line is: name, tab, class, tab, four numbers of a box."""
    numbers = {name: number for number, name in enumerate(class_names)}
    labels: dict[str, int] = {}
    for place, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) < 2:
            raise UserError(f"{path}, line {place}: it has to be the name of an image, a tab and its class")
        name, wnid = fields[0].strip(), fields[1].strip()
        if wnid not in numbers:
            raise UserError(f"{path}, line {place}: class '{wnid}' is not among the {len(numbers)} training classes")
        if name in labels:
            raise UserError(f"{path}, line {place}: {name} is listed twice")
        labels[name] = numbers[wnid]
    return labels
