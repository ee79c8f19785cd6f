"""Texts of the library `datasets`."""

from functools import partial
from typing import Any

from smskd.data.sources.hf_columns import class_names
from smskd.data.sources.text_columns import Table


def text_table(dataset: str, split: str, table: Any) -> Table:
    """A split as a table of texts.

    Args:
        dataset: its name, for messages.
        split: its name.
        table: of type ``datasets.Dataset``.
    """
    kinds = {name: str(getattr(feature, "dtype", "")) for name, feature in table.features.items()}
    texts = tuple(name for name, kind in kinds.items() if kind in ("string", "large_string"))
    numbers = tuple(name for name, kind in kinds.items() if "int" in kind)
    names = {name: class_names(table.features[name]) for name in numbers}
    return Table(f"{dataset}, split {split}", texts, numbers, partial(_column, table), names.get)


def holds_texts(features: Any) -> bool:
    """Whether a data set has columns of texts and none of images."""
    from datasets import Image

    kinds = list(features.values())
    return not any(isinstance(kind, Image) for kind in kinds) and any(
        str(getattr(kind, "dtype", "")) in ("string", "large_string") for kind in kinds
    )


def _column(table: Any, name: str) -> list[str | int | None]:
    return list(table.with_format(None).select_columns([name])[name][:])
