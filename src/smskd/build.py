"""From a resolved recipe to everything that a run needs: the only builder."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from smskd import models
from smskd.config.data import DataConfig
from smskd.config.given import is_given
from smskd.config.models import ModelConfig, TeacherConfig
from smskd.data import Augmentation, Dataset, Loader, load, mix
from smskd.data.loaders.identity import pixel_settings
from smskd.data.loaders.make import make_loader
from smskd.data.sources.catalog import Track as LoadTrack
from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.models.frozen import Frozen
from smskd.models.memory_format import safe_memory_format
from smskd.objective.student_head import head_descriptions_in, rebuild_head
from smskd.strategies.resolved import ResolvedRecipe
from smskd.teacher_cache import key_of, replayed_seed
from smskd.teacher_cache.key import weights
from smskd.training.config import RunConfig
from smskd.training.host import device_of
from smskd.training.identity import Identity
from smskd.training.rng import seed_everything

_STUDENT, _LOADER = 0x53545544, 0x4C4F4144
"""Set the seeds of different uses apart."""


@dataclass(frozen=True)
class Provided:
    """Python objects in place of networks and data that a recipe names.

    Attributes:
        student, teacher: networks. The student is trained in place; the teacher is copied.
        dataset: the data, validation split included.
        augmentation: of training images of bytes, instead of the data set's own.
    """

    student: nn.Module | None = None
    teacher: nn.Module | None = None
    dataset: Dataset | None = None
    augmentation: Augmentation | None = None


def build(recipe: ResolvedRecipe, provided: Provided | None = None, track: LoadTrack | None = None) -> RunConfig:
    """Everything that a run of the recipe needs, on its device.

    It seeds the global random number generators and does not put them back; :mod:`smskd.session` does.

    Args:
        recipe: every setting.
        provided: Python objects in place of named ones.
        track: shows the progress of reading images.

    Raises:
        UserError: anything in the recipe that cannot be had or does not fit.
    """
    provided = provided or Provided()
    device = device_of(recipe.runtime.device)
    dataset = provided.dataset or load_data(recipe.data, track)
    example = torch.zeros(1, *dataset.shape, device=device)
    seed_everything(mix(recipe.runtime.seed, _STUDENT))
    student = _model(recipe.student, provided.student, dataset, example, "student")
    memory_format = safe_memory_format(student, device)
    student.to(memory_format=memory_format)
    teachers = _teachers(recipe, provided.teacher, dataset, example)
    augmentation = _augmentation(recipe.data, dataset, provided.augmentation, memory_format)
    loaders, loader_seed = _training_loaders(recipe, dataset, augmentation, teachers, device)
    plain = augmentation.plain()
    evaluation = {
        name: make_loader(
            split,
            recipe.training.test_batch_size,
            plain,
            config=recipe.data.loader,
            device=device,
            shuffle=False,
        )
        for name, split in (("test", dataset.test), ("validation", dataset.validation))
        if split is not None
    }
    fingerprints = {
        **dataset.fingerprints(),
        "augmentation": repr(pixel_settings(augmentation)),
        "loader_seed": str(loader_seed),
        "student": weights(student.wrapped),
        **_teacher_fingerprints(teachers),
    }
    return RunConfig(
        recipe=recipe,
        student=student,
        teachers=teachers,
        loaders=loaders,
        test=evaluation["test"],
        validation=evaluation.get("validation"),
        example=example,
        identity=Identity.of(recipe.as_mapping(), fingerprints),
        data=data_facts(dataset),
        student_metadata={} if provided.student is not None else model_metadata(recipe.student, dataset),
    )


def load_data(config: DataConfig, track: LoadTrack | None = None) -> Dataset:
    """The data of a recipe.

    Raises:
        UserError: a fault in its settings or files; the message begins with ``data``.
    """
    if is_given(config.source.name):
        raise _needs_program("data.source", config.source.name)
    try:
        return load(config, track=track)
    except UserError as error:
        message = str(error)
        raise UserError(message if message.startswith("data.") else f"data: {message}") from None


def load_model(config: ModelConfig, dataset: Dataset, role: str) -> FeatureModel:
    """The student or the teacher of a recipe, with its weights, on the CPU.

    Args:
        config: name, weights and options.
        dataset: whose images it takes and whose classes it predicts.
        role: ``student`` or ``teacher``, for messages.

    Raises:
        UserError: no such model, weights that do not fit, or images that it does not take.
    """
    if is_given(config.name):
        raise _needs_program(role, config.name)
    try:
        model = models.create(
            config.name,
            classes=dataset.classes,
            channels=dataset.shape[0],
            image_size=dataset.shape[1:],
            features=config.features,
            **config.options,
        )
        models.describe(model, dataset.shape)
    except UserError as error:
        raise UserError(f"{role}: {error}") from None
    return model if config.weights is None else _with_weights(model, config.weights, role)


def test_loader(dataset: Dataset, batch_size: int, device: torch.device) -> Loader:
    """The test images, normalised and nothing else."""
    return make_loader(
        dataset.test, batch_size, dataset.normalisation(torch.channels_last), device=device, shuffle=False
    )


def data_facts(dataset: Dataset) -> dict[str, object]:
    """Facts of the data for the summary."""
    validation = {} if dataset.validation is None else {"validation_samples": len(dataset.validation)}
    return {
        "name": dataset.name,
        "train_samples": len(dataset.train),
        **validation,
        "test_samples": len(dataset.test),
        "classes": dataset.classes,
        "image_shape": list(dataset.shape),
        "fingerprint": dataset.fingerprint(),
    }


def model_metadata(config: ModelConfig, dataset: Dataset) -> dict[str, str]:
    """Goes into the file of a student's weights, so that it can be loaded alone."""
    return {
        "model": config.name,
        "options": json.dumps(config.options),
        "classes": str(dataset.classes),
        "image_shape": json.dumps(dataset.shape),
        "mean": json.dumps(dataset.mean),
        "std": json.dumps(dataset.std),
        "class_names": json.dumps(dataset.class_names),
    }


def _model(config: ModelConfig, own: nn.Module | None, dataset: Dataset, example: Tensor, role: str) -> FeatureModel:
    if own is None:
        return load_model(config, dataset, role).to(example.device)
    try:
        model = models.adapt(own.to(example.device), example)
        models.describe(model, dataset.shape)
    except UserError as error:
        raise UserError(f"{role}: {error}") from None
    return model


def _teachers(
    recipe: ResolvedRecipe, own: nn.Module | None, dataset: Dataset, example: Tensor
) -> tuple[Frozen | None, ...]:
    """The teacher of each stage; stages with the same teacher share it. One that no stage can read is not loaded."""
    made: list[tuple[TeacherConfig, Frozen]] = []
    result: list[Frozen | None] = []
    for index, stage in enumerate(recipe.stages):
        config = stage.teacher
        if config is None or not (stage.methods or stage.anchor or config.weights or own is not None):
            result.append(None)
            continue
        frozen = next((frozen for known, frozen in made if known.same_network(config)), None)
        if frozen is None:
            where = "teacher" if config.same_network(recipe.teacher) else f"stages.{index}.teacher"
            frozen = _teacher(config, own if where == "teacher" else None, dataset, example, where)
            made.append((config, frozen))
        result.append(frozen)
    return tuple(result)


def _teacher(config: TeacherConfig, own: nn.Module | None, dataset: Dataset, example: Tensor, where: str) -> Frozen:
    if own is None and config.weights is None and not is_given(config.name):
        raise UserError(
            f"{where}.weights: a teacher needs trained weights: a .safetensors or .pth file, or the folder of the run "
            "that trained it"
        )
    model = _model(config, own, dataset, example, where)
    return Frozen(model, example, copy=own is not None)


def _augmentation(
    config: DataConfig, dataset: Dataset, own: Augmentation | None, memory_format: torch.memory_format
) -> Augmentation:
    """The transform of training images."""
    if own is not None:
        return replace(own, memory_format=memory_format)
    usual = dataset.augmentation(memory_format)
    padding, flip = config.augmentation.padding, config.augmentation.flip
    return replace(
        usual,
        padding=usual.padding if padding is None else padding,
        flip=usual.flip if flip is None else flip,
    )


def _training_loaders(
    recipe: ResolvedRecipe,
    dataset: Dataset,
    augmentation: Augmentation,
    teachers: tuple[Frozen | None, ...],
    device: torch.device,
) -> tuple[tuple[Loader, ...], int]:
    """The loader of each stage, and their seed; stages with the same batch size share one."""
    modes = {stage.teacher.cache.mode for stage in recipe.stages if stage.teacher is not None}
    made: dict[int, Loader] = {}

    def loader(batch_size: int, seed: int) -> Loader:
        return make_loader(
            dataset.train,
            batch_size,
            augmentation,
            config=recipe.data.loader,
            seed=seed,
            device=device,
            checksums=bool(modes - {"off"}),
        )

    seed = mix(recipe.runtime.seed, _LOADER)
    if "replay" in modes:
        seed = _replayed_seed(recipe, teachers, loader(recipe.stages[0].batch_size, seed), seed, device)
    for stage in recipe.stages:
        if stage.batch_size not in made:
            made[stage.batch_size] = loader(stage.batch_size, seed)
    return tuple(made[stage.batch_size] for stage in recipe.stages), seed


def _replayed_seed(
    recipe: ResolvedRecipe, teachers: tuple[Frozen | None, ...], loader: Loader, seed: int, device: torch.device
) -> int:
    """The seed with which a replay of the teacher's outputs was recorded."""
    pairs = zip(teachers, recipe.stages, strict=True)
    found = [
        (frozen, stage.teacher.cache)
        for frozen, stage in pairs
        if frozen is not None and stage.teacher is not None and stage.teacher.cache.mode == "replay"
    ]
    if not found:
        return seed
    frozen, cache = found[0]
    runtime = recipe.runtime
    key = key_of(frozen.model, loader.augmentation_space, cache, device, runtime.precision, tf32=runtime.tf32)
    return replayed_seed(key, cache, seed)


def _teacher_fingerprints(teachers: tuple[Frozen | None, ...]) -> Mapping[str, str]:
    """Of the weights, by stage where stages have different teachers."""
    distinct = list(dict.fromkeys(frozen for frozen in teachers if frozen is not None))
    if len(distinct) == 1:
        return {"teacher": weights(distinct[0].model.wrapped)}
    known = {frozen: weights(frozen.model.wrapped) for frozen in distinct}
    return {f"stages.{index}.teacher": known[frozen] for index, frozen in enumerate(teachers) if frozen is not None}


def _with_weights(model: FeatureModel, path: str, role: str) -> FeatureModel:
    """The model with the weights of a file, and with the heads that methods have put on it."""
    try:
        for description in head_descriptions_in(path):
            model = rebuild_head(model, description)
        models.check_classes(model, path)
        models.load_weights(model.wrapped, path)
        return model
    except UserError as error:
        raise UserError(f"{role}.weights: {str(error).removeprefix('weights: ')}") from None


def _needs_program(where: str, name: str) -> UserError:
    return UserError(
        f"{where}: the run was begun in Python with an object ({name[1:-1]}); go on with it there, with resume=True"
    )
