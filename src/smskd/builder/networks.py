"""The student and the teachers of a run."""

import json
from collections.abc import Mapping

from torch import Tensor, nn

from smskd import models
from smskd.config.given import is_given
from smskd.config.models import ModelConfig, TeacherConfig
from smskd.data import Dataset
from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.models.frozen import Frozen
from smskd.objective.student_head import head_descriptions_in, rebuild_head
from smskd.strategies.resolved import ResolvedRecipe
from smskd.teacher_cache.key import structure, weights


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
        raise needs_program(role, config.name)
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


def model_of(config: ModelConfig, own: nn.Module | None, dataset: Dataset, example: Tensor, role: str) -> FeatureModel:
    if own is None:
        return load_model(config, dataset, role).to(example.device)
    try:
        model = models.adapt(own.to(example.device), example)
        models.describe(model, dataset.shape)
    except UserError as error:
        raise UserError(f"{role}: {error}") from None
    return model


def frozen_teachers(
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
    model = model_of(config, own, dataset, example, where)
    return Frozen(model, example, copy=own is not None)


def teacher_fingerprints(teachers: tuple[Frozen | None, ...]) -> Mapping[str, str]:
    """Of the weights, by stage where stages have different teachers."""
    distinct = list(dict.fromkeys(frozen for frozen in teachers if frozen is not None))
    known = {frozen: f"{weights(frozen.model.wrapped)}:{structure(frozen.model)}" for frozen in distinct}
    if len(distinct) == 1:
        return {"teacher": known[distinct[0]]}
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


def needs_program(where: str, name: str) -> UserError:
    return UserError(
        f"{where}: the run was begun in Python with an object ({name[1:-1]}); go on with it there, with resume=True"
    )
