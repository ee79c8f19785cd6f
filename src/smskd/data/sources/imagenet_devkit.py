"""The labels of ImageNet's validation images, from the development kit of ILSVRC 2012.

``ILSVRC2012_validation_ground_truth.txt`` has a number for each image. It is neither the place of the class in
ascending order nor counted from 0: ``meta.mat`` says which class has it.
"""

import re
from pathlib import Path
from typing import Any

import torch

from smskd.data.sources.image_files import ImageFiles
from smskd.data.sources.text_files import read_lines
from smskd.errors import UserError

_LABELS, _SYNSETS = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
_NUMBER = re.compile(r"_(\d+)\.[A-Za-z]+$")


def labelled_by_devkit(folder: Path, names: set[str], class_names: tuple[str, ...], devkit: Path) -> ImageFiles:
    """The images of a folder with the labels of the development kit, in the order of their numbers.

    Args:
        folder: of the images.
        names: of their files, such as ``ILSVRC2012_val_00000001.JPEG``: line 1 of the labels is for number 1.
        class_names: of the training images: ids of WordNet.
        devkit: the unpacked development kit.

    Raises:
        UserError: a file is missing or damaged, images and labels differ in number, or a class is no training class.
    """
    if not (devkit / "data" / _LABELS).is_file():
        raise UserError(
            f"{folder} has no class folders, and {devkit / 'data' / _LABELS} is missing; give devkit: the unpacked "
            "development kit, or sort the images into class folders"
        )
    labels = _labels(devkit / "data" / _LABELS, devkit / "data" / _SYNSETS, class_names)
    numbered = _numbered(folder, names)
    if sorted(numbered) != list(range(1, len(labels) + 1)):
        missing = next(iter(sorted(set(range(1, len(labels) + 1)) - set(numbered))), None)
        difference = f"number {missing} is missing" if missing else f"{_LABELS} has {len(labels)} labels"
        raise UserError(f"{folder} has {len(numbered)} images for {len(labels)} labels: {difference}")
    paths = [str(folder / numbered[number]) for number in sorted(numbered)]
    return ImageFiles(paths, torch.tensor(labels, dtype=torch.int64), class_names)


def _numbered(folder: Path, names: set[str]) -> dict[int, str]:
    """The files by their numbers."""
    found: dict[int, str] = {}
    for name in sorted(names):
        number = _NUMBER.search(name)
        if number is None:
            raise UserError(f"{folder / name} has no number in its name, as in ILSVRC2012_val_00000001.JPEG")
        if int(number[1]) in found:
            raise UserError(f"{folder / name} and {found[int(number[1])]} have the same number")
        found[int(number[1])] = name
    return found


def _labels(path: Path, synsets: Path, class_names: tuple[str, ...]) -> list[int]:
    ids = _ids(synsets)
    places = {name: place for place, name in enumerate(class_names)}
    labels = []
    for line, text in enumerate(read_lines(path), start=1):
        number = int(text) if re.fullmatch(r"\s*\d{1,6}\s*", text, re.ASCII) else None
        if number not in ids:
            raise UserError(f"{path}, line {line}: '{text[:40]}' is not the number of a class in {_SYNSETS}")
        if ids[number] not in places:
            raise UserError(f"{path}, line {line}: class {ids[number]} is not among the {len(places)} training classes")
        labels.append(places[ids[number]])
    return labels


def _ids(path: Path) -> dict[int, str]:
    """The id of WordNet of each number. Classes that contain others are not among the labels."""
    from scipy.io import loadmat

    if not path.is_file():
        raise UserError(f"{path} is missing; it says which class a number of {_LABELS} is")
    try:
        synsets: Any = loadmat(path, squeeze_me=True)["synsets"]
        rows = zip(synsets["ILSVRC2012_ID"], synsets["WNID"], synsets["num_children"], strict=True)
        return {int(number): str(wnid) for number, wnid, children in rows if int(children) == 0}
    except Exception as error:  # of a decoder, about foreign bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} cannot be read as the classes of the development kit: {reason}") from error
