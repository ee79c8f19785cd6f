"""Sequential multi-stage knowledge distillation.

Three levels: :func:`distill` does it all; :class:`Objective` gives the loss in a training loop of your own; and each
method's loss is a pure function, such as :func:`smskd.methods.kd.kd_loss`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from smskd.errors import UserError

if TYPE_CHECKING:
    from smskd.anchors.reference_kl import TrueClass, true_class_loss
    from smskd.api import Result, distill, load, train
    from smskd.interfaces.batch import Batch, Progress
    from smskd.interfaces.features import FeatureModel, Layout, Output, Side, Taps
    from smskd.interfaces.terms import Anchor, DataInfo, Method, WeightedMethod
    from smskd.models.frozen import Frozen
    from smskd.objective.weighted_sum import Losses, Objective
    from smskd.recipe import OptimizerSpec, Recipe, ScheduleSpec, StageSpec
    from smskd.teacher_cache import CacheOptions

_HOMES = {
    "Anchor": "interfaces.terms",
    "Batch": "interfaces.batch",
    "CacheOptions": "config.cache",
    "DataInfo": "interfaces.terms",
    "FeatureModel": "interfaces.features",
    "Frozen": "models.frozen",
    "Layout": "interfaces.features",
    "Losses": "objective.weighted_sum",
    "Method": "interfaces.terms",
    "Objective": "objective.weighted_sum",
    "OptimizerSpec": "recipe",
    "Output": "interfaces.features",
    "Progress": "interfaces.batch",
    "Recipe": "recipe",
    "Result": "api",
    "ScheduleSpec": "recipe",
    "Side": "interfaces.features",
    "StageSpec": "recipe",
    "Taps": "interfaces.features",
    "TrueClass": "anchors.reference_kl",
    "WeightedMethod": "interfaces.terms",
    "distill": "api",
    "load": "api",
    "train": "api",
    "true_class_loss": "anchors.reference_kl",
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
