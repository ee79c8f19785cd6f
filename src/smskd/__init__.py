"""Sequential multi-stage knowledge distillation.

Three levels: :func:`distill` does it all; :class:`Objective` gives the loss in a training loop of your own; and each
method's loss is a pure function, such as :func:`smskd.methods.kd.kd_loss`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from smskd.errors import UserError

if TYPE_CHECKING:
    from smskd.anchors.reference_kl import ReferenceKL, reference_kl_loss
    from smskd.api import Result, distill, load, train
    from smskd.interfaces.batch import Batch, Progress
    from smskd.interfaces.features import FeatureLayout, FeatureModel, ModelInfo, Reads, TappedOutputs
    from smskd.interfaces.terms import Anchor, DataInfo, Method, WeightedMethod
    from smskd.models.frozen import Frozen
    from smskd.objective.weighted_sum import Losses, Objective
    from smskd.recipe import OptimizerSpec, Recipe, ScheduleSpec, StageSpec
    from smskd.teacher_cache import CacheConfig

_HOMES = {
    "Anchor": "interfaces.terms",
    "Batch": "interfaces.batch",
    "CacheConfig": "config.cache",
    "DataInfo": "interfaces.terms",
    "FeatureModel": "interfaces.features",
    "Frozen": "models.frozen",
    "FeatureLayout": "interfaces.features",
    "Losses": "objective.weighted_sum",
    "Method": "interfaces.terms",
    "Objective": "objective.weighted_sum",
    "OptimizerSpec": "recipe",
    "TappedOutputs": "interfaces.features",
    "Progress": "interfaces.batch",
    "Recipe": "recipe",
    "Result": "api",
    "ScheduleSpec": "recipe",
    "ModelInfo": "interfaces.features",
    "StageSpec": "recipe",
    "Reads": "interfaces.features",
    "ReferenceKL": "anchors.reference_kl",
    "WeightedMethod": "interfaces.terms",
    "distill": "api",
    "load": "api",
    "train": "api",
    "reference_kl_loss": "anchors.reference_kl",
}

__all__ = [
    "Anchor",
    "Batch",
    "CacheConfig",
    "DataInfo",
    "FeatureLayout",
    "FeatureModel",
    "Frozen",
    "Losses",
    "Method",
    "ModelInfo",
    "Objective",
    "OptimizerSpec",
    "Progress",
    "Reads",
    "Recipe",
    "ReferenceKL",
    "Result",
    "ScheduleSpec",
    "StageSpec",
    "TappedOutputs",
    "UserError",
    "WeightedMethod",
    "distill",
    "load",
    "reference_kl_loss",
    "train",
]


def __getattr__(name: str) -> object:
    # Imported when first asked for: `smskd --help` must not wait for torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
