"""What the shell completes after the program's name. Nothing here imports torch."""

from collections.abc import Iterable
from pathlib import Path


def recipes(incomplete: str) -> list[str]:
    """The recipes that come with the package, and the YAML files where the word leads to."""
    from smskd.recipe.shipped import names

    prefix = "recipes/" if incomplete.startswith("recipes/") else ""
    own = Path(incomplete).parent.glob("*.y*ml")
    return _fitting([*(prefix + name for name in names()), *sorted(file.as_posix() for file in own)], incomplete)


def methods(incomplete: str) -> list[str]:
    """The distillation methods."""
    from smskd.registry import METHODS

    return _fitting(METHODS.names(), incomplete)


def models(incomplete: str) -> list[str]:
    """The models."""
    from smskd.models.zoo.names import names

    return _fitting(names(), incomplete)


def _fitting(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in dict.fromkeys(words) if word.startswith(incomplete)]
