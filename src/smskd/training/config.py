"""All that a run needs."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from smskd.config.pace import Pace
from smskd.config.runtime import ComputeConfig
from smskd.config.stage import Stage
from smskd.data import Loader
from smskd.data.loaders.identity import AugmentationSpace
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.terms import DataInfo
from smskd.teacher_cache import CacheConfig


@dataclass(frozen=True)
class RunConfig:
    """All that a run needs.

    Attributes:
        name: of the run. student_name, teacher_name: of the models, for the summary.
        student: the model to train, on its device. teacher: to learn from, or None.
        stages, pace: what is done when, and how fast.
        train, test: the loaders. data: what the methods may know of the training data.
        example: a picture [1, channels, height, width], for the shapes of the features.
        pictures: facts of the data for the summary.
        numerics: how a step is computed.
        cache: how the teacher's outputs are kept. orbit: all pictures that ``train`` can give; only a cache needs it.
        student_metadata: goes into the files of the student's weights, so that they can be loaded alone.
    """

    name: str
    student_name: str
    student: FeatureModel
    teacher_name: str | None
    teacher: FeatureModel | None
    stages: tuple[Stage, ...]
    pace: Pace
    train: Loader
    test: Loader
    data: DataInfo
    example: Tensor
    pictures: dict[str, Any]
    student_metadata: dict[str, str] = field(default_factory=dict)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    augmentation_space: AugmentationSpace | None = None
    checkpoint_every: int = 1
