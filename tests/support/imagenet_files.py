"""The files of ImageNet in the folders of ILSVRC, with a few small images."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

IDS = ("n01", "n02", "n03")
NUMBERS = {"n03": 1, "n01": 2, "n02": 3}
"""Of ``meta.mat``, which are in another order than the ids."""

VALIDATION = ("n02", "n03", "n01", "n03")
"""The class of each validation image."""


def save(path: Path, seed: int, size: tuple[int, int]) -> None:
    """Writes an image of noise of (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path, "JPEG")


def write_train(root: Path) -> None:
    """Two images of each class, all of different sizes."""
    for number, name in enumerate(IDS):
        for image in range(2):
            save(root / "train" / name / f"{name}_{image}.JPEG", 10 * number + image, (20 + number, 30 - 9 * image))


def validation_name(number: int) -> str:
    """The file of a validation image, counted from 1."""
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def write_validation(root: Path, sorted_into_folders: bool) -> None:
    """The images of :data:`VALIDATION`."""
    for number, name in enumerate(VALIDATION, start=1):
        folder = root / "val" / name if sorted_into_folders else root / "val"
        save(folder / validation_name(number), 100 + number, (24, 21))


def write_devkit(devkit: Path) -> None:
    """The labels of :data:`VALIDATION`, and the classes with one that contains the others."""
    folder = devkit / "data"
    folder.mkdir(parents=True)
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{NUMBERS[name]}\n" for name in VALIDATION))
    kinds = [("ILSVRC2012_ID", "f8"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "f8")]
    rows = [(number, name, f"word of {name}", "", 0) for name, number in NUMBERS.items()]
    savemat(folder / "meta.mat", {"synsets": np.array([*rows, (1001, "n00", "thing", "", 3)], dtype=kinds)})
