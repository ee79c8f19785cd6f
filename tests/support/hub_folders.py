"""Data sets of the library `datasets`, saved to a folder as its users save them."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image

NAMES = ("cat", "dog", "owl")


def pixels(count: int, seed: int, size: tuple[int, int] = (6, 5)) -> list[Any]:
    """Images of noise, uint8 [height, width, 3] each."""
    generator = np.random.default_rng(seed)
    return [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]


def split(
    images: list[Any],
    labels: list[Any],
    label: Any | None = None,
    columns: tuple[str, str] = ("img", "label"),
    /,
    **further: tuple[Any, list[Any]],
) -> datasets.Dataset:
    """A split.

    Args:
        images: uint8 [height, width, 3] each.
        labels: one for each.
        label: type of the label column; default: class labels with :data:`NAMES`.
        columns: names of both columns.
        further: type and values of other columns.
    """
    kinds = {name: kind for name, (kind, _) in further.items()}
    values = {name: content for name, (_, content) in further.items()}
    features = {columns[0]: datasets.Image(), columns[1]: label or datasets.ClassLabel(names=list(NAMES)), **kinds}
    content = {columns[0]: [Image.fromarray(image) for image in images], columns[1]: labels, **values}
    return datasets.Dataset.from_dict(content, features=datasets.Features(features))


def save(folder: Path, **splits: datasets.Dataset) -> Path:
    """Saves splits by name; the folder is returned."""
    datasets.DatasetDict(splits).save_to_disk(str(folder))
    return folder
