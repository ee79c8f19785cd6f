"""Sequential multi-stage knowledge distillation.

Three levels: :func:`distill` does it all; :class:`Objective` gives the loss in a training loop of your own; and each
method's loss is a pure function, such as :func:`smskd.methods.kd.kd_loss`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from smskd import data as data
from smskd import models as models
from smskd.errors import UserError

if TYPE_CHECKING:
    from smskd.anchors.frozen import Frozen
    from smskd.anchors.true_class import TrueClass, true_class_loss
    from smskd.api import Result, distill, load, train
    from smskd.engine.cache import CacheOptions
    from smskd.engine.objective import Losses, Objective, WeightedMethod
    from smskd.recipe import OptimizerSpec, Recipe, ScheduleSpec, StageSpec
    from smskd.types import (
        Anchor,
        Batch,
        DataInfo,
        FeatureModel,
        Layout,
        Method,
        Output,
        Progress,
        Side,
        Taps,
    )

_HOMES = {
    "Anchor": "types",
    "Batch": "types",
    "CacheOptions": "engine.cache",
    "DataInfo": "types",
    "FeatureModel": "types",
    "Frozen": "anchors.frozen",
    "Layout": "types",
    "Losses": "engine.objective",
    "Method": "types",
    "Objective": "engine.objective",
    "OptimizerSpec": "recipe",
    "Output": "types",
    "Progress": "types",
    "Recipe": "recipe",
    "Result": "api",
    "ScheduleSpec": "recipe",
    "Side": "types",
    "StageSpec": "recipe",
    "Taps": "types",
    "TrueClass": "anchors.true_class",
    "WeightedMethod": "engine.objective",
    "distill": "api",
    "load": "api",
    "train": "api",
    "true_class_loss": "anchors.true_class",
}

__all__ = [
    "Anchor",
    "Batch",
    "CacheOptions",
    "DataInfo",
    "FeatureModel",
    "Frozen",
    "Layout",
    "Losses",
    "Method",
    "Objective",
    "OptimizerSpec",
    "Output",
    "Progress",
    "Recipe",
    "Result",
    "ScheduleSpec",
    "Side",
    "StageSpec",
    "Taps",
    "TrueClass",
    "UserError",
    "WeightedMethod",
    "distill",
    "load",
    "train",
    "true_class_loss",
]


def __getattr__(name: str) -> object:
    # Imported when first asked for: `smskd --help` must not wait for torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
