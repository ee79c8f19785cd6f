"""Small folders of images with one folder per class."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Pixels = Any


def pixels(seed: int, size: tuple[int, int] = (6, 5)) -> Pixels:
    """A random colour image, uint8 [height, width, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def write_folder(root: Path, images: Mapping[str, Pixels]) -> Path:
    """Writes PNG files by their paths without the ending, such as ``train/cat/0``; returns the folder."""
    for path, image in images.items():
        file = root / f"{path}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return root


def plain_folder(root: Path, size: tuple[int, int] = (6, 5)) -> Path:
    """Three training images of each of two classes, and one test image of each, all different."""
    names = [f"train/{name}/{row}" for name in ("cat", "dog") for row in range(3)] + ["val/cat/0", "val/dog/0"]
    return write_folder(root, {name: pixels(seed, size) for seed, name in enumerate(names)})
