"""Sequential multi-stage knowledge distillation.

Three levels: :func:`distill` does everything; :func:`build_objective` gives the loss of a stage for a training loop of
your own; and each method's loss is a pure function, such as :func:`smskd.methods.kd.kd_loss`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from smskd import data as data
from smskd import models as models
from smskd.errors import UserError

if TYPE_CHECKING:
    from smskd.anchors.reference_kl import ReferenceKL, reference_kl_loss
    from smskd.api import Result, distill, load, train
    from smskd.config.augmentation import AugmentationConfig
    from smskd.config.cache import CacheConfig
    from smskd.config.data import DataConfig, LoaderConfig, SubsetConfig, ValidationConfig
    from smskd.config.models import TeacherConfig
    from smskd.config.optimization import OptimizerConfig, ScheduleConfig
    from smskd.config.runtime import RuntimeConfig
    from smskd.config.stage import StageConfig
    from smskd.config.sweep import SweepConfig
    from smskd.data.augment.crop_flip import Augmentation
    from smskd.deployment.exporting import Exported, export
    from smskd.deployment.prediction import ClassProbability, Prediction, predict
    from smskd.interfaces.batch import Batch, Progress
    from smskd.interfaces.features import FeatureLayout, FeatureModel, ModelInfo, Reads, Roles, Tap, TappedOutputs
    from smskd.interfaces.objective import Losses, Objective, ParameterGroup
    from smskd.interfaces.terms import Anchor, DataInfo, Method, Pretraining, Term, TermInputs, WeightedMethod
    from smskd.models.frozen import Frozen
    from smskd.objective.build import build_objective
    from smskd.objective.parts import StageParts
    from smskd.objective.weighted_sum import WeightedSum
    from smskd.recipe import Recipe, TrainingConfig
    from smskd.strategies.base import Strategy
    from smskd.sweeps.program import SweepResult, sweep

_HOMES = {
    "Anchor": "interfaces.terms",
    "Augmentation": "data.augment.crop_flip",
    "AugmentationConfig": "config.augmentation",
    "Batch": "interfaces.batch",
    "CacheConfig": "config.cache",
    "ClassProbability": "deployment.prediction",
    "DataConfig": "config.data",
    "DataInfo": "interfaces.terms",
    "Exported": "deployment.exporting",
    "FeatureLayout": "interfaces.features",
    "FeatureModel": "interfaces.features",
    "Frozen": "models.frozen",
    "LoaderConfig": "config.data",
    "Losses": "interfaces.objective",
    "Method": "interfaces.terms",
    "ModelInfo": "interfaces.features",
    "Objective": "interfaces.objective",
    "OptimizerConfig": "config.optimization",
    "ParameterGroup": "interfaces.objective",
    "Prediction": "deployment.prediction",
    "Pretraining": "interfaces.terms",
    "Progress": "interfaces.batch",
    "Reads": "interfaces.features",
    "Recipe": "recipe",
    "ReferenceKL": "anchors.reference_kl",
    "Result": "api",
    "Roles": "interfaces.features",
    "RuntimeConfig": "config.runtime",
    "ScheduleConfig": "config.optimization",
    "StageConfig": "config.stage",
    "StageParts": "objective.parts",
    "Strategy": "strategies.base",
    "SubsetConfig": "config.data",
    "SweepConfig": "config.sweep",
    "SweepResult": "sweeps.program",
    "Tap": "interfaces.features",
    "TappedOutputs": "interfaces.features",
    "TeacherConfig": "config.models",
    "Term": "interfaces.terms",
    "TermInputs": "interfaces.terms",
    "TrainingConfig": "recipe",
    "ValidationConfig": "config.data",
    "WeightedMethod": "interfaces.terms",
    "WeightedSum": "objective.weighted_sum",
    "build_objective": "objective.build",
    "distill": "api",
    "export": "deployment.exporting",
    "load": "api",
    "predict": "deployment.prediction",
    "reference_kl_loss": "anchors.reference_kl",
    "sweep": "sweeps.program",
    "train": "api",
}

__all__ = [
    "Anchor",
    "Augmentation",
    "AugmentationConfig",
    "Batch",
    "CacheConfig",
    "ClassProbability",
    "DataConfig",
    "DataInfo",
    "Exported",
    "FeatureLayout",
    "FeatureModel",
    "Frozen",
    "LoaderConfig",
    "Losses",
    "Method",
    "ModelInfo",
    "Objective",
    "OptimizerConfig",
    "ParameterGroup",
    "Prediction",
    "Pretraining",
    "Progress",
    "Reads",
    "Recipe",
    "ReferenceKL",
    "Result",
    "Roles",
    "RuntimeConfig",
    "ScheduleConfig",
    "StageConfig",
    "StageParts",
    "Strategy",
    "SubsetConfig",
    "SweepConfig",
    "SweepResult",
    "Tap",
    "TappedOutputs",
    "TeacherConfig",
    "Term",
    "TermInputs",
    "TrainingConfig",
    "UserError",
    "ValidationConfig",
    "WeightedMethod",
    "WeightedSum",
    "build_objective",
    "distill",
    "export",
    "load",
    "predict",
    "reference_kl_loss",
    "sweep",
    "train",
]


def __getattr__(name: str) -> object:
    # Imported when first asked for: `smskd --help` must not wait for torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
