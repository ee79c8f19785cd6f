"""The recipes that come with the package."""

from pathlib import Path

FOLDERS = (Path(__file__).parents[1] / "recipes", Path(__file__).parents[3] / "recipes")
"""Where they are: in an installed package, in a checkout."""


def names() -> list[str]:
    """Every recipe, as ``recipes/<folder>/<file>``."""
    return sorted(
        str(Path("recipes") / file.relative_to(folder))
        for folder in FOLDERS
        if folder.is_dir()
        for file in folder.rglob("*.yaml")
    )
