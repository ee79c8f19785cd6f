"""From the arguments of ``distill`` to settings and a data set."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from smskd import models
from smskd.config.base import ComponentConfig
from smskd.config.data import ValidationConfig
from smskd.config.given import given
from smskd.config.runtime import RuntimeConfig
from smskd.config.stage import StageConfig
from smskd.data import Augmentation, Dataset, Images, StreamedSamples, TextDataset, Texts, split_samples
from smskd.data.listed import listed_class_names
from smskd.data.named_tensors import gives_named_tensors, read_named_tensors
from smskd.data.samples import Samples
from smskd.data.splits import fitted_names, matching_split, require_map_style, training_split
from smskd.data.validation import check_apart
from smskd.errors import UserError
from smskd.interfaces.terms import Method, WeightedMethod
from smskd.models.fitness import check_apart as check_apart_from
from smskd.models.fitness import check_network, check_trainable
from smskd.training.host import device_of

_MOST_CLASSES = 2**16

StageLike = str | Method | WeightedMethod | StageConfig | Sequence[str | Method | WeightedMethod]


def check_arguments(
    student: Any,
    teacher: Any,
    train: Any,
    test: Any,
    stages: Any,
    methods: Any,
    strategy: Any,
    validation: Any,
    on_epoch: Any,
) -> None:
    """Refuses arguments of ``distill`` of wrong kinds, each in one line.

    Raises:
        UserError: the argument's name, and what it has to be.
    """
    for name, network in (("student", student), ("teacher", teacher)):
        if not isinstance(network, nn.Module) and not (name == "teacher" and network is None):
            raise UserError(f"{name} must be a torch.nn.Module, not {network!r}")
        if network is not None:
            check_network(network, name)
    check_trainable(student)
    if teacher is not None:
        check_apart_from(student, teacher)
    held_out = validation if not isinstance(validation, float | ValidationConfig | None) else test
    for name, data in (("train", train), ("test", test), ("validation", held_out)):
        require_map_style(data, name)
    if (stages is None) == (methods is None):
        raise UserError("give either stages or methods")
    if stages is not None and strategy == "joint":
        raise UserError("strategy: joint makes one stage of methods; give methods instead of stages")
    for name, items in (("stages", stages), ("methods", methods)):
        if isinstance(items, str) or not isinstance(items, Sequence | None):
            raise UserError(f"{name} must be a list, such as ['fitnet', 'kd'], not {items!r}")
    if on_epoch is not None and not callable(on_epoch):
        raise UserError(f"on_epoch must be callable, not {on_epoch!r}")


def check_settings(**settings: tuple[Any, Any]) -> None:
    """Refuses settings of wrong kinds.

    Args:
        **settings: the value of each argument, and its class or classes. None is always taken.

    Raises:
        UserError: the argument's name, and what it has to be.
    """
    for name, (value, kinds) in settings.items():
        if value is not None and not isinstance(value, kinds):
            wanted = " or ".join(kind.__name__ for kind in getattr(kinds, "__args__", (kinds,)))
            raise UserError(f"{name} must be of type {wanted}, not {value!r}")


def stage_config(stage: StageLike) -> StageConfig:
    """The settings of a stage that is given by its methods, or in full."""
    if isinstance(stage, StageConfig):
        return stage
    single = isinstance(stage, str | Method | WeightedMethod)
    if not single and not isinstance(stage, Sequence):
        raise UserError(
            f"stages: {stage!r} is no stage; give a method's name or object, a list of them or a StageConfig"
        )
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
    train: Samples | Images | Texts,
    test: Samples | Images | Texts,
    validation: Samples | Images | Texts | ValidationConfig | float | None,
    augmentation: Augmentation | None,
    runtime: RuntimeConfig,
) -> Dataset | TextDataset:
    """The data as one data set, with as many classes as the student predicts, matched by name where they have names."""
    if gives_named_tensors(train):
        return _texts(student, train, test, validation, augmentation, runtime)
    shape = _shape(train)
    classes = _classes(student, shape, device_of(runtime.device))
    training = training_split(train, classes)
    names = training.class_names
    parts = {"train": training, "test": matching_split(test, train, names, "test")}
    if isinstance(validation, ValidationConfig | float):
        config = validation if isinstance(validation, ValidationConfig) else ValidationConfig(fraction=validation)
        parts["train"], parts["validation"] = split_samples(parts["train"], config, classes)
    elif validation is not None:
        parts["validation"] = matching_split(validation, train, names, "validation")
    if "validation" in parts:
        check_apart(parts["validation"], parts["train"], parts["test"])
    mean, std = ((0.0,) * shape[0], (1.0,) * shape[0])
    if augmentation is not None:
        mean, std = augmentation.mean, augmentation.std
    padding, flip = (0, False) if augmentation is None else (augmentation.padding, augmentation.flip)
    return Dataset(name=type(train).__name__, mean=mean, std=std, padding=padding, flip=flip, **parts)


def _texts(
    student: nn.Module,
    train: Any,
    test: Any,
    validation: Any,
    augmentation: Augmentation | None,
    runtime: RuntimeConfig,
) -> TextDataset:
    """The data whose samples are tensors by name."""
    if augmentation is not None:
        raise UserError("augmentation: the samples are no images; leave it out")
    for name, data in (("test", test), ("validation", validation)):
        if not isinstance(data, float | ValidationConfig | None) and not gives_named_tensors(data):
            raise UserError(f"{name}: training samples are tensors by name, and these are not")
    listed = listed_class_names(train)
    reading = read_named_tensors(train, listed or tuple(map(str, range(_MOST_CLASSES))), "training")
    classes = _classes_of(student, reading, device_of(runtime.device))
    names = fitted_names(listed, classes)
    try:
        parts = {"train": replace(reading, class_names=names)}
    except UserError as error:
        raise UserError(f"training samples: {error}") from None
    others = {"test": test}
    if validation is not None and not isinstance(validation, float | ValidationConfig):
        others["validation"] = validation
    for name, data in others.items():
        parts[name] = read_named_tensors(data, listed_class_names(data) or names, name)
    if isinstance(validation, ValidationConfig | float):
        config = validation if isinstance(validation, ValidationConfig) else ValidationConfig(fraction=validation)
        parts["train"], parts["validation"] = split_samples(parts["train"], config, classes)
    dataset = TextDataset(
        name=type(train).__name__, train=parts["train"], test=parts["test"], validation=parts.get("validation")
    )
    if dataset.validation is not None:
        check_apart(dataset.validation, dataset.train, dataset.test)
    return dataset


def _classes_of(student: nn.Module, samples: Texts, device: torch.device) -> int:
    example = {name: tensor.to(device) for name, tensor in samples.example().items()}
    try:
        return models.describe(models.adapt(student.to(device), example), example).classes
    except UserError as error:
        raise UserError(f"student: {error}") from None


def _shape(samples: Samples | Images) -> tuple[int, int, int]:
    return samples.shape if isinstance(samples, Images) else StreamedSamples(samples, (), part="training").shape


def _classes(student: nn.Module, shape: tuple[int, int, int], device: torch.device) -> int:
    example = torch.zeros(1, *shape, device=device)
    try:
        return models.describe(models.adapt(student.to(device), example), shape).classes
    except UserError as error:
        raise UserError(f"student: {error}") from None
