"""Recipes: what a run is, written as YAML, read into frozen records."""

from smskd.recipe.read import overridden, parse, read, to_yaml
from smskd.recipe.spec import (
    ComponentSpec,
    DataSpec,
    MethodSpec,
    ModelSpec,
    OptimizerSpec,
    Recipe,
    ScheduleSpec,
    StageSpec,
    TeacherSpec,
)

__all__ = [
    "ComponentSpec",
    "DataSpec",
    "MethodSpec",
    "ModelSpec",
    "OptimizerSpec",
    "Recipe",
    "ScheduleSpec",
    "StageSpec",
    "TeacherSpec",
    "overridden",
    "parse",
    "read",
    "to_yaml",
]
