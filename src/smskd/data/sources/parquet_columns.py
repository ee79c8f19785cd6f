"""The columns of a Parquet file that hold images and labels, and the names of the classes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from smskd.data.sample_pairs import LABEL_KEYS
from smskd.data.sources.parquet_reading import open_file
from smskd.errors import UserError, nearest

IMAGE_COLUMNS = ("image", "img")


@dataclass(frozen=True)
class Columns:
    """The names of the two columns."""

    image: str
    label: str


def find_columns(path: Path, image_column: str | None, label_column: str | None) -> Columns:
    """The columns of a file.

    Args:
        path: the file.
        image_column: default: ``image`` or ``img``, else the only column whose type is image in the
            Hugging Face metadata.
        label_column: default: ``label``, ``labels`` or ``fine_label``, else the only one whose type is class label
            in the metadata.

    Raises:
        UserError: there is no such column, or it does not hold images or integers.
    """
    schema = open_file(path).schema_arrow
    features = _features(schema)
    image = _choose(path, schema, "image_column", image_column, IMAGE_COLUMNS, _of_type(features, "Image"))
    label = _choose(path, schema, "label_column", label_column, LABEL_KEYS, _of_type(features, "ClassLabel"))
    columns = Columns(image, label)
    check_columns(path, columns)
    return columns


def class_names(path: Path, columns: Columns) -> tuple[str, ...] | None:
    """One name per class, by the labels of this file; None where its metadata have none."""
    feature = _features(open_file(path).schema_arrow).get(columns.label)
    names = feature.get("names") if isinstance(feature, dict) else None
    if not isinstance(names, list) or not names:
        return None
    return tuple(str(name) for name in names)


def check_columns(path: Path, columns: Columns) -> None:
    """Raises UserError where the file lacks the columns or they do not hold images and integers."""
    schema = open_file(path).schema_arrow
    for name in (columns.image, columns.label):
        if name not in schema.names:
            raise UserError(f"{path} has no column '{name}'{nearest(name, schema.names)}")
    image = schema.field(columns.image).type
    if pa.types.is_struct(image) and image.get_field_index("bytes") >= 0:
        image = image.field("bytes").type
    if not (pa.types.is_binary(image) or pa.types.is_large_binary(image)):
        raise UserError(f"{path}: column '{columns.image}' holds {image}, not the bytes of images; set image_column")
    label = schema.field(columns.label).type
    if not pa.types.is_integer(label):
        raise UserError(f"{path}: column '{columns.label}' holds {label}, not integers; set label_column")


def _choose(path: Path, schema: Any, option: str, given: str | None, usual: tuple[str, ...], typed: list[str]) -> str:
    if given is not None:
        return given
    named = [name for name in usual if name in schema.names]
    # A column whose type is in the metadata takes precedence over one that only has a usual name.
    found = [name for name in named if name in typed] or (typed if len(typed) == 1 else named)
    if not found:
        raise UserError(f"{path}: set {option}; the columns are {', '.join(schema.names)}")
    return found[0]


def _features(schema: Any) -> Mapping[str, Any]:
    """Hugging Face's metadata of each column; empty where there is none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _of_type(features: Mapping[str, Any], kind: str) -> list[str]:
    return [name for name, feature in features.items() if isinstance(feature, dict) and feature.get("_type") == kind]
