"""The image files that a user names: files, folders and patterns."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from smskd.data.sources.image_files import SUFFIXES
from smskd.errors import UserError


def image_paths(named: Iterable[str | Path]) -> list[Path]:
    """The image files of some names: a file is itself, a folder the images in and below it, a pattern what fits it.

    Args:
        named: files, folders, or patterns with ``*``, ``?`` and ``**``. Those of a folder or a pattern are sorted.

    Raises:
        UserError: there is no such file, or no image in a folder.
    """
    return [path for name in named for path in _paths(str(name))]


def _paths(name: str) -> Iterator[Path]:
    if os.path.isdir(name):
        found = [os.path.join(parent, file) for parent, _, files in os.walk(name) for file in files if _is_image(file)]
        if not found:
            raise UserError(f"{name} has no images in it ({', '.join(SUFFIXES)})")
        yield from map(Path, sorted(found))
    elif os.path.exists(name):
        yield Path(name)
    else:
        matching = sorted(glob.glob(name, recursive=True)) if glob.has_magic(name) else []
        found = [path for path in matching if os.path.isfile(path) and _is_image(path)]
        if not found:
            raise UserError(f"{name}: no such image file" if not glob.has_magic(name) else f"no image file fits {name}")
        yield from map(Path, found)


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)
