"""Completion of names in the shell. Nothing here imports torch."""

from collections.abc import Iterable
from pathlib import Path


def recipes(incomplete: str) -> list[str]:
    """The recipes of the package, and YAML files in the folder of the incomplete word."""
    from smskd.recipe.shipped import names

    prefix = "recipes/" if incomplete.startswith("recipes/") else ""
    own = Path(incomplete).parent.glob("*.y*ml")
    return _fitting([*(prefix + name for name in names()), *sorted(file.as_posix() for file in own)], incomplete)


def methods(incomplete: str) -> list[str]:
    """The distillation methods."""
    from smskd.registry import METHODS

    return _fitting(METHODS.names(), incomplete)


def anchors(incomplete: str) -> list[str]:
    """The anchors."""
    from smskd.registry import ANCHORS

    return _fitting(ANCHORS.names(), incomplete)


def models(incomplete: str) -> list[str]:
    """The models."""
    from smskd.models.zoo.names import names

    return _fitting(names(), incomplete)


def _fitting(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in dict.fromkeys(words) if word.startswith(incomplete)]
