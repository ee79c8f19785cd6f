"""Training and test split of a data set of the library `datasets`, from the Hugging Face hub or a folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from smskd.config.paths import expanded
from smskd.data.images import check_labels, numbered_classes
from smskd.data.sources.hf_columns import class_names, image_column, label_column
from smskd.data.sources.image_decoding import MAX_PIXELS
from smskd.data.sources.image_files import read_file
from smskd.errors import UserError, nearest, not_installed

_TEST = ("test", "validation", "valid", "val")
"""The first one that exists is used."""


@dataclass(frozen=True, eq=False)
class HubSplit:
    """Encoded images and labels of a split.

    Args:
        name: for messages: `cifar10, split test`.
        table: of type ``datasets.Dataset``, whose images are not decoded.
        column: of the images.
        labels: int64 [N]
        class_names: one name per class.
    """

    threads: ClassVar[bool] = False

    name: str
    table: Any
    column: str
    labels: Tensor
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.table)

    def read(self, row: int) -> tuple[bytes | None, str]:
        """The bytes of an image, and its place for messages."""
        where = f"{self.name}, row {row}"
        cell = self.table[row][self.column] or {}
        content = cell.get("bytes")
        if content is None and cell.get("path"):
            return read_file(cell["path"], MAX_PIXELS), f"{where} ({cell['path']})"
        return content, where


def open_splits(
    dataset: str, configuration: str | None, revision: str | None, train_split: str, test_split: str | None
) -> tuple[str, Mapping[str, Any]]:
    """The name of the test split, and all splits by name.

    Raises:
        UserError: the library is missing, or the data set or a split.
    """
    folder = expanded(dataset)
    splits = _saved(folder) if folder.is_dir() else _of_hub(dataset, configuration, revision)
    if train_split not in splits:
        raise UserError(f"train_split: {dataset} has no split '{train_split}'{nearest(train_split, splits)}")
    others = [name for name in splits if name != train_split]
    test = test_split or next((name for name in _TEST if name in others), None)
    if test is None or test not in splits:
        problem = f"has no split '{test}'" if test else f"has no split {' or '.join(_TEST)}"
        raise UserError(f"test_split: {dataset} {problem}; its splits are {', '.join(splits)}")
    if test == train_split:
        raise UserError(f"test_split: '{test}' is the training split; its splits are {', '.join(splits)}")
    return test, splits


def labelled_splits(
    dataset: str, splits: Mapping[str, Any], train: str, test: str, image: str | None, label: str | None
) -> tuple[HubSplit, HubSplit]:
    """Training and test images with their labels; test labels keep the order of the test split's own class names.

    Args:
        dataset: its name, for messages.
        splits: all of them by name.
        train: name of the training split.
        test: name of the test split.
        image: the option ``image_column``.
        label: the option ``label_column``.

    Raises:
        UserError: columns cannot be found, or a label is not a class: the split and the row are named.
    """
    features = splits[train].features
    columns = image_column(features, image), label_column(features, label)
    names = class_names(features[columns[1]])
    labels = _labels(dataset, splits, train, columns[1], "train_split", test)
    names = names or numbered_classes(labels, lambda row: f"{dataset}, split {train}, row {row}")
    own_test = splits[test].features
    for option, column, find in (("image", columns[0], image_column), ("label", columns[1], label_column)):
        try:
            find(own_test, column)
        except UserError as error:
            raise UserError(f"{dataset}, split {test}, column of {option}s: {error}") from None
    test_names = class_names(own_test[columns[1]]) or names
    test_labels = _labels(dataset, splits, test, columns[1], "test_split", train)
    return (
        _split(dataset, train, splits[train], columns[0], labels, names),
        _split(dataset, test, splits[test], columns[0], test_labels, test_names),
    )


def _split(dataset: str, split: str, table: Any, column: str, labels: Tensor, names: tuple[str, ...]) -> HubSplit:
    from datasets import Image

    name = f"{dataset}, split {split}"
    check_labels(labels, len(names), lambda row: f"{name}, row {row}")
    images = table.with_format(None).select_columns([column]).cast_column(column, Image(decode=False))
    return HubSplit(name, images, column, labels, names)


def _labels(dataset: str, splits: Mapping[str, Any], split: str, column: str, option: str, used: str) -> Tensor:
    """The labels of a split, int64 [N]; where it has none, the other splits are named."""
    found = np.asarray(splits[split].with_format("numpy").select_columns([column])[column][:])
    if not len(found):
        raise UserError(f"{dataset}, split {split} has no images")
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise UserError(f"{dataset}, split {split}: column '{column}' has empty cells, or no integers")
    labels = torch.from_numpy(found.astype(np.int64))
    if bool((labels < 0).any()):
        row = int((labels < 0).nonzero()[0])
        others = [name for name in splits if name not in (split, used)]
        advice = f"choose another {option}: {', '.join(others)}" if others else f"there is no other {option} to choose"
        raise UserError(f"{dataset}, split {split}, row {row} has label {int(labels[row])}, that is none; {advice}")
    return labels


def _saved(folder: Path) -> Mapping[str, Any]:
    library = _library()
    if not (folder / "dataset_dict.json").is_file():
        raise UserError(
            f"{folder} is no folder of DatasetDict.save_to_disk (it has no dataset_dict.json); for folders of Parquet "
            "files or images there are the sources parquet and image_folder"
        )
    return _opened(str(folder), lambda: library.load_from_disk(str(folder)))


def _of_hub(dataset: str, configuration: str | None, revision: str | None) -> Mapping[str, Any]:
    library = _library()
    return _opened(dataset, lambda: library.load_dataset(dataset, configuration, revision=revision))


def _opened(name: str, load: Any) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = load()
    except Exception as error:  # of the network, the hub or a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"data set {name} cannot be opened: {reason}") from error
    return found


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise not_installed("datasets", "datasets", error) from None
    return datasets
