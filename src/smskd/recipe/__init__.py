"""Recipes: YAML read into frozen settings, and written back.

``recipe`` is the dataclass, ``read`` makes it from a file and overrides. ``files`` finds recipes and merges their
bases, ``overrides`` sets single keys, ``shorthands`` expands them, ``yaml_text`` parses and writes YAML, ``old_keys``
and ``unknown_keys`` word the errors.
"""

from smskd.recipe.overrides import overridden
from smskd.recipe.read import parse, read
from smskd.recipe.recipe import Recipe, TrainingConfig
from smskd.recipe.yaml_text import to_yaml

__all__ = ["Recipe", "TrainingConfig", "overridden", "parse", "read", "to_yaml"]
