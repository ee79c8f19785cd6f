"""The recipes of the package."""

from contextlib import suppress
from pathlib import Path

FOLDERS = (Path(__file__).parents[1] / "recipes", Path(__file__).parents[3] / "recipes")
"""Their folders: in an installed package, and in a checkout."""


def names() -> list[str]:
    """The names of all recipes, sorted: ``digits/kd.yaml``."""
    return sorted(
        file.relative_to(folder).as_posix() for folder in FOLDERS if folder.is_dir() for file in folder.rglob("*.yaml")
    )


def find(path: Path) -> Path | None:
    """The file of a recipe, or None.

    Args:
        path: its name: ``digits/kd``, ``digits/kd.yaml`` or ``recipes/digits/kd.yaml``.
    """
    if path.is_absolute() or ".." in path.parts:
        return None
    inside = Path(*path.parts[1:]) if path.parts[:1] == ("recipes",) else path
    candidates = [folder / f"{inside}{ending}" for folder in FOLDERS for ending in ("", ".yaml")]
    return next((file for file in candidates if is_file(file)), None)


def is_file(path: Path) -> bool:
    """Whether there is such a regular file; a name that no file can have is that of none."""
    with suppress(OSError, ValueError):
        return path.is_file()
    return False
