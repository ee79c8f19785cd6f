"""The files of a folder that hold the training images and the test images."""

import re
from pathlib import Path

from smskd.errors import UserError

_TEST = ("test", "validation", "valid", "val", "dev")
"""The first one that exists is used: the validation part only where there is no test part."""
_SHARD = re.compile(r"-(\d+)-of-(\d+)")


def find_splits(root: Path) -> tuple[list[Path], list[Path]]:
    """The files of the training part and of the test part, shards in order.

    A part is ``train.parquet``, shards such as ``train-00000-of-00002.parquet``, or a folder ``train`` of
    Parquet files. Where the root has none, its subfolders are searched: the hub has most data sets under
    ``data``.

    Raises:
        UserError: there is no such folder or no part in it, several subfolders have one, or a shard is
            missing.
    """
    if not root.is_dir():
        raise UserError(f"{root} is not a folder; root has to be the folder with the train and test files")
    home = _home(root)
    test = next((files for name in _TEST if (files := _files(home, name))), None)
    if test is None:
        raise UserError(f"{home} has no Parquet files called {' or '.join(_TEST[:2])}, only train")
    return _complete(_files(home, "train")), _complete(test)


def _home(root: Path) -> Path:
    if _files(root, "train"):
        return root
    folders = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and _files(folder, "train")]
    if not folders:
        raise UserError(f"{root} has no Parquet files called train (train.parquet, train-*.parquet or train/*.parquet)")
    if len(folders) > 1:
        found = ", ".join(folder.name for folder in folders)
        raise UserError(f"{root} has several data sets ({found}); set root to one of these folders")
    return folders[0]


def _files(home: Path, part: str) -> list[Path]:
    """Files such as ``train-*.parquet``, else those inside of a folder ``train``."""
    own_name = re.compile(rf"{part}(?![A-Za-z])")
    beside = [file for file in sorted(home.glob("*.parquet")) if own_name.match(file.name)]
    return beside or sorted((home / part).glob("*.parquet"))


def _complete(files: list[Path]) -> list[Path]:
    for total, here in _numbered(files).items():
        missing = sorted(set(range(total)) - here)
        if missing:
            raise UserError(f"{files[0].parent} lacks part {missing[0]} of {total} (counted from 0) of {files[0].name}")
    return files


def _numbered(files: list[Path]) -> dict[int, set[int]]:
    numbers: dict[int, set[int]] = {}
    for file in files:
        if match := _SHARD.search(file.name):
            numbers.setdefault(int(match[2]), set()).add(int(match[1]))
    return numbers
