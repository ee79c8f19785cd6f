"""The recipes of the package."""

from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from smskd.errors import UserError

FOLDERS = (Path(__file__).parents[1] / "recipes", Path(__file__).parents[3] / "recipes")
"""Their folders: in an installed package, and in a checkout."""

SWEEPS = "sweeps"
"""The folder of sweeps among them."""


def names() -> list[str]:
    """The names of all recipes, sorted: ``digits/kd.yaml``."""
    return sorted(
        file.relative_to(folder).as_posix()
        for folder in FOLDERS
        if folder.is_dir()
        for file in folder.rglob("*.yaml")
        if file.relative_to(folder).parts[0] != SWEEPS
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


def sweep_file(path: Path) -> Path:
    """The file of a sweep: relative to the working folder, otherwise one of the package; ``.yaml`` may be omitted.

    Raises:
        UserError: there is no such file.
    """
    candidates = [path, path.with_name(f"{path.name}.yaml")] if path.name else []
    inside = Path(*path.parts[1:]) if path.parts[:1] == (SWEEPS,) else path
    if not path.is_absolute() and ".." not in path.parts:
        candidates += [folder / SWEEPS / f"{inside}{ending}" for folder in FOLDERS for ending in ("", ".yaml")]
    found = next((file for file in candidates if is_file(file)), None)
    if found is None:
        close = get_close_matches(str(path), sweep_names(), n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"those of the package: {', '.join(sweep_names())}"
        raise UserError(f"{path}: no such file of a sweep; {hint}")
    return found


def sweep_names() -> list[str]:
    """The names of the sweeps of the package, sorted: ``digits/orders.yaml``."""
    return sorted(
        file.relative_to(folder / SWEEPS).as_posix()
        for folder in FOLDERS
        if folder.is_dir()
        for file in (folder / SWEEPS).rglob("*.yaml")
    )


def is_file(path: Path) -> bool:
    """Whether there is such a regular file; a name that no file can have is that of none."""
    with suppress(OSError, ValueError):
        return path.is_file()
    return False
