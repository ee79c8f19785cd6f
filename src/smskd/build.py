"""From a recipe to all that a run needs: data, models, loaders, stages."""

import json
from dataclasses import replace
from pathlib import Path

import torch

from smskd import data, models
from smskd.config.pace import Pace
from smskd.config.runtime import ComputeConfig
from smskd.config.stage import Stage
from smskd.data import Augmentation, Dataset, MemoryLoader, mix
from smskd.data.sources.catalog import Track as LoadTrack
from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.recipe import DataSpec, ModelSpec, Recipe, TeacherSpec
from smskd.strategies.resolve import plan
from smskd.teacher_cache import CacheConfig
from smskd.training.config import RunConfig
from smskd.training.host import allow_tf32, device_of, use_deterministic_cudnn

_STUDENT, _LOADER = 0x53545544, 0x4C4F4144
"""Set the seeds of different uses apart."""


def assemble(recipe: Recipe, pictures: Dataset | None = None, track: LoadTrack | None = None) -> RunConfig:
    """All that a run of the recipe needs, on its device.

    Args:
        recipe: what to run.
        pictures: its data, if they are loaded already.
        track: shows the progress of reading pictures.

    Raises:
        UserError: anything in the recipe that cannot be had or does not fit.
    """
    stages = plan(recipe)
    device = device_of(recipe.device)
    allow_tf32(recipe.tf32)
    use_deterministic_cudnn()
    pictures = pictures or load_data(recipe.data, track)
    torch.manual_seed(mix(recipe.seed, _STUDENT))
    student = load_model(recipe.student, pictures, "student").to(device)
    student.to(memory_format=torch.channels_last)
    teacher = _teacher(recipe, stages, pictures)
    seed = mix(recipe.seed, _LOADER)
    train = MemoryLoader(
        pictures.train, recipe.batch_size, augmentation(recipe.data, pictures), seed=seed, device=device
    )
    return RunConfig(
        name=recipe.name,
        student_name=recipe.student.model,
        student=student,
        teacher_name=recipe.teacher.model if recipe.teacher and teacher else None,
        teacher=teacher.to(device) if teacher else None,
        stages=stages,
        pace=Pace(recipe.optimizer, recipe.schedule, recipe.epochs, recipe.seed),
        train=train,
        test=test_loader(pictures, recipe.test_batch_size, device),
        data=train.info,
        example=torch.zeros(1, *pictures.shape, device=device),
        pictures=facts(pictures),
        student_metadata=_metadata(recipe.student, pictures),
        compute=ComputeConfig(recipe.precision, recipe.compile),
        checkpoint_every=recipe.checkpoint_every,
        cache=_cache(recipe.teacher),
        augmentation_space=train.augmentation_space if recipe.teacher and recipe.teacher.cache != "off" else None,
    )


def load_data(spec: DataSpec, track: LoadTrack | None = None) -> Dataset:
    """The pictures of a recipe."""
    try:
        return data.load(
            spec.name,
            root=spec.root,
            download=spec.download,
            train_limit=spec.train_limit,
            test_limit=spec.test_limit,
            seed=spec.limit_seed,
            image_column=spec.image_column,
            label_column=spec.label_column,
            image_size=spec.image_size,
            channels=spec.channels,
            track=track,
        )
    except UserError as error:
        raise UserError(f"data: {error}") from None


def load_model(spec: ModelSpec, pictures: Dataset, role: str) -> FeatureModel:
    """The student or the teacher of a recipe, with its weights."""
    try:
        model = models.create(
            spec.model,
            classes=pictures.classes,
            channels=pictures.shape[0],
            image_size=pictures.shape[1:],
            features=spec.features,
            **spec.options,
        )
        models.describe(model, pictures.shape)
    except UserError as error:
        raise UserError(f"{role}: {error}") from None
    if spec.weights is not None:
        _load_weights(model, spec.weights, pictures, role)
    return model


def augmentation(spec: DataSpec, pictures: Dataset) -> Augmentation:
    """What the training pictures go through."""
    own = pictures.augmentation(torch.channels_last)
    padding = own.padding if spec.padding is None else spec.padding
    return replace(own, padding=padding, flip=own.flip if spec.flip is None else spec.flip)


def test_loader(pictures: Dataset, batch_size: int, device: torch.device) -> MemoryLoader:
    """The test pictures, in large batches, normalised and nothing else."""
    plain = pictures.normalisation(torch.channels_last)
    return MemoryLoader(pictures.test, batch_size, plain, device=device, shuffle=False)


def facts(pictures: Dataset) -> dict[str, object]:
    """What a summary says of the data."""
    return {
        "name": pictures.name,
        "train_samples": len(pictures.train),
        "test_samples": len(pictures.test),
        "classes": pictures.classes,
        "image_shape": list(pictures.shape),
        "fingerprint": pictures.fingerprint(),
    }


def absolute_paths(recipe: Recipe) -> Recipe:
    """The recipe with its paths made absolute, so that it means the same from another folder."""
    update: dict[str, object] = {}
    if recipe.data.root is not None:
        update["data"] = recipe.data.model_copy(update={"root": _absolute(recipe.data.root)})
    for role in ("student", "teacher"):
        spec: ModelSpec | None = getattr(recipe, role)
        if spec is not None and spec.weights is not None:
            update[role] = spec.model_copy(update={"weights": _absolute(spec.weights)})
    teacher = update.get("teacher", recipe.teacher)
    if isinstance(teacher, TeacherSpec) and teacher.cache_folder is not None:
        update["teacher"] = teacher.model_copy(update={"cache_folder": _absolute(teacher.cache_folder)})
    return recipe.model_copy(update=update)


def _teacher(recipe: Recipe, stages: tuple[Stage, ...], pictures: Dataset) -> FeatureModel | None:
    """The teacher; a plain run may name one without weights, which nothing then reads."""
    if recipe.teacher is None:
        return None
    if recipe.teacher.weights is None:
        if not any(stage.needs_teacher for stage in stages):
            return None
        raise UserError(
            "teacher.weights: a teacher needs trained weights: a .safetensors or .pth file, or the folder of the "
            "run that trained it"
        )
    return load_model(recipe.teacher, pictures, "teacher")


def _cache(teacher: TeacherSpec | None) -> CacheConfig:
    return CacheConfig(teacher.cache, teacher.cache_folder, teacher.cache_limit) if teacher else CacheConfig()


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def _load_weights(model: FeatureModel, path: str, pictures: Dataset, role: str) -> None:
    try:
        models.check_classes(model, path)
        models.load_weights(model.wrapped, path)
    except UserError as error:
        raise UserError(f"{role}.weights: {str(error).removeprefix('weights: ')}") from None


def _metadata(spec: ModelSpec, pictures: Dataset) -> dict[str, str]:
    return {
        "model": spec.model,
        "options": json.dumps(spec.options),
        "classes": str(pictures.classes),
        "image_shape": json.dumps(pictures.shape),
        "mean": json.dumps(pictures.mean),
        "std": json.dumps(pictures.std),
        "class_names": json.dumps(pictures.class_names),
    }
