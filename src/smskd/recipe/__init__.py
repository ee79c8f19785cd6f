"""Recipes: a run written as YAML, read into frozen settings, and written back."""

from smskd.recipe.read import overridden, parse, read, to_yaml
from smskd.recipe.recipe import Recipe, TrainingConfig

__all__ = ["Recipe", "TrainingConfig", "overridden", "parse", "read", "to_yaml"]
