"""From the arguments of ``distill`` to settings and a data set."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from smskd import models
from smskd.config.base import ComponentConfig
from smskd.config.data import ValidationConfig
from smskd.config.given import given
from smskd.config.runtime import RuntimeConfig
from smskd.config.stage import StageConfig
from smskd.data import Augmentation, Dataset, Images, StreamedSamples, split_samples
from smskd.data.samples import Samples, Split
from smskd.errors import UserError
from smskd.interfaces.terms import Method, WeightedMethod
from smskd.training.host import device_of

StageLike = str | Method | WeightedMethod | StageConfig | Sequence[str | Method | WeightedMethod]


def stage_config(stage: StageLike) -> StageConfig:
    """The settings of a stage that is given by its methods, or in full."""
    if isinstance(stage, StageConfig):
        return stage
    single = isinstance(stage, str | Method | WeightedMethod)
    return StageConfig(methods=(stage,) if single else tuple(stage))  # type: ignore[arg-type]


def validation_config(validation: Any) -> ValidationConfig | None:
    """The settings of a validation split that is given by its share, its settings, or its data."""
    if validation is None or isinstance(validation, ValidationConfig):
        return validation
    if isinstance(validation, float):
        return ValidationConfig(fraction=validation)
    return ValidationConfig(source=ComponentConfig(given(validation), {}))


def dataset_of(
    student: nn.Module,
    train: Samples | Images,
    test: Samples | Images,
    validation: Samples | Images | ValidationConfig | float | None,
    augmentation: Augmentation | None,
    runtime: RuntimeConfig,
) -> Dataset:
    """The data as one data set, with as many classes as the student predicts."""
    shape = _shape(train)
    classes = _classes(student, shape, device_of(runtime.device))
    parts = {"train": _split(train, classes), "test": _split(test, classes)}
    if isinstance(validation, ValidationConfig | float):
        config = validation if isinstance(validation, ValidationConfig) else ValidationConfig(fraction=validation)
        parts["train"], parts["validation"] = split_samples(parts["train"], config, classes)
    elif validation is not None:
        parts["validation"] = _split(validation, classes)
    mean, std = ((0.0,) * shape[0], (1.0,) * shape[0])
    if augmentation is not None:
        mean, std = augmentation.mean, augmentation.std
    padding, flip = (0, False) if augmentation is None else (augmentation.padding, augmentation.flip)
    return Dataset(name=type(train).__name__, mean=mean, std=std, padding=padding, flip=flip, **parts)


def _split(samples: Samples | Images, classes: int) -> Split:
    if not isinstance(samples, Images):
        return StreamedSamples(samples, tuple(str(label) for label in range(classes)))
    if samples.classes > classes:
        raise UserError(f"the images have {samples.classes} classes, the student {classes} output classes")
    return samples


def _shape(samples: Samples | Images) -> tuple[int, int, int]:
    return samples.shape if isinstance(samples, Images) else StreamedSamples(samples, ()).shape


def _classes(student: nn.Module, shape: tuple[int, int, int], device: torch.device) -> int:
    example = torch.zeros(1, *shape, device=device)
    try:
        return models.describe(models.adapt(student.to(device), example), shape).classes
    except UserError as error:
        raise UserError(f"student: {error}") from None
