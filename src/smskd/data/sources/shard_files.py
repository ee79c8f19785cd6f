"""The shards of a WebDataset that hold the training images and the test images."""

import re
from itertools import product
from pathlib import Path

from smskd.errors import UserError

_TEST = ("test", "validation", "valid", "val", "eval")
"""The first one that exists is used."""
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_NUMBER = re.compile(r"\d+")
_MOST = 1_000_000


def find_shards(root: Path, train: str | None, test: str | None) -> tuple[list[Path], list[Path]]:
    """The shards of both parts, in the order of their numbers.

    Args:
        root: the folder.
        train: pattern of the training shards, relative to the folder, with ``*`` and ``{000..146}`` as in the library
            webdataset; None: the tars in a folder ``train``, else those with ``train`` in their names.
        test: likewise of the test shards; None: ``test``, or ``validation``, ``valid``, ``val`` or ``eval``.

    Raises:
        UserError: there are none, one is missing, or a shard would be in both parts.
    """
    if not root.is_dir():
        raise UserError(f"{root} is not a folder; root has to be the folder with the shards")
    found = _part(root, "train", train, ("train",)), _part(root, "test", test, _TEST)
    shared = sorted(set(found[0]) & set(found[1]))
    if shared:
        raise UserError(f"{shared[0]} would be both a training and a test shard; give train and test")
    return found


def shards_of(root: Path, names: tuple[str, ...]) -> list[Path]:
    """The shards of the first of several parts that there is; empty where there is none."""
    for name in names:
        own_name = re.compile(rf"(?<![A-Za-z]){name}(?![A-Za-z])")
        beside = [file for file in root.glob("*.tar") if own_name.search(file.name)]
        if shards := list((root / name).glob("*.tar")) or beside:
            return sorted(shards, key=_in_order)
    return []


def has_shards(root: Path) -> bool:
    """Whether a folder has training and test shards by their usual names."""
    return bool(shards_of(root, ("train",)) and shards_of(root, _TEST))


def _part(root: Path, part: str, pattern: str | None, names: tuple[str, ...]) -> list[Path]:
    if pattern is None:
        shards = shards_of(root, names)
        if not shards:
            raise UserError(f"{root} has no shards called {' or '.join(names[:2])} (*.tar); give the pattern {part}")
        return _complete(shards)
    if "{" in pattern:
        return [root / name for name in _expanded(pattern, part)]
    shards = sorted((path for path in root.glob(pattern) if path.is_file()), key=_in_order) if pattern else []
    if not shards:
        raise UserError(f"{part}: {root} has no files {pattern}")
    return _complete(shards)


def _expanded(pattern: str, part: str) -> list[str]:
    """The names that a pattern with braces stands for."""
    pieces = _BRACES.split(pattern)
    choices = [_choices(piece, part) if place % 2 else [piece] for place, piece in enumerate(pieces)]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > _MOST:
        raise UserError(f"{part}: {pattern} stands for more than {_MOST} shards")
    return ["".join(names) for names in product(*choices)]


def _choices(inside: str, part: str) -> list[str]:
    match = _RANGE.fullmatch(inside)
    if match is None:
        return inside.split(",")
    first, last = int(match[1]), int(match[2])
    if not 0 <= last - first < _MOST:
        raise UserError(f"{part}: {{{inside}}} has to count up, to fewer than {_MOST} shards")
    width = len(match[1]) if match[1].startswith("0") else 0
    return [f"{number:0{width}}" for number in range(first, last + 1)]


def _complete(shards: list[Path]) -> list[Path]:
    """Refuses a gap in the numbers of shards whose names are alike otherwise."""
    numbers: dict[tuple[Path, str], dict[int, Path]] = {}
    for shard in shards:
        if found := _NUMBER.findall(shard.stem):
            alike = (shard.parent, "#".join(_NUMBER.split(shard.stem)))
            numbers.setdefault(alike, {})[int(found[-1])] = shard
    for here in numbers.values():
        for number in sorted(here):
            if number + 1 not in here and number != max(here):
                raise UserError(
                    f"{here[number].parent} lacks shard {number + 1}, behind {here[number].name}; where that is meant, "
                    "name the shards in braces, such as train-{0,2,3}.tar"
                )
    return shards


def _in_order(path: Path) -> tuple[str, list[tuple[str, int]], str]:
    """By folder, then by name with numbers by their size."""
    words = re.findall(r"(\D*)(\d*)", path.name)
    return str(path.parent), [(word, int(number or -1)) for word, number in words], path.name
