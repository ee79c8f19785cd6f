"""The image and label columns of a data set of the library `datasets`."""

from collections.abc import Mapping
from typing import Any

from smskd.data.sample_pairs import IMAGE_KEYS, LABEL_KEYS
from smskd.errors import UserError, nearest


def image_column(features: Mapping[str, Any], given: str | None) -> str:
    """The column of images.

    Args:
        features: the types of the columns.
        given: the option ``image_column``; None: the only column of images, or the only one of them with a usual name.

    Raises:
        UserError: there is none or several, or the given one holds no images.
    """
    from datasets import Image

    images = [name for name, feature in features.items() if isinstance(feature, Image)]
    return _chosen("image_column", "images", given, features, images, [_usual(images, IMAGE_KEYS), images])


def label_column(features: Mapping[str, Any], given: str | None) -> str:
    """The column of labels.

    Args:
        features: the types of the columns.
        given: the option ``label_column``; None: the only column of type ClassLabel, or the only one of them with a
            usual name, or else the only column of integers with a usual name.

    Raises:
        UserError: there is none or several, or the given one holds neither class labels nor integers.
    """
    typed = [name for name, feature in features.items() if class_names(feature) is not None]
    integers = [name for name, feature in features.items() if "int" in str(getattr(feature, "dtype", ""))]
    choices = [_usual(typed, LABEL_KEYS), typed, _usual(integers, LABEL_KEYS)]
    return _chosen("label_column", "class labels or integers", given, features, typed + integers, choices)


def class_names(feature: Any) -> tuple[str, ...] | None:
    """The names of a column of type ClassLabel; None for any other."""
    from datasets import ClassLabel

    return tuple(feature.names) if isinstance(feature, ClassLabel) else None


def _usual(names: list[str], keys: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in keys]


def _chosen(
    option: str, content: str, given: str | None, columns: Mapping[str, Any], fitting: list[str], found: list[list[str]]
) -> str:
    """The given column, or the one of the first group that has a single column."""
    if given is not None:
        if given not in columns:
            raise UserError(f"{option}: there is no column '{given}'{nearest(given, columns)}")
        if given not in fitting:
            raise UserError(f"{option}: column '{given}' holds no {content}, but {columns[given]}")
        return given
    for names in found:
        if len(names) == 1:
            return names[0]
    raise UserError(f"set {option}, the column of {content}; the columns are {', '.join(columns)}")
