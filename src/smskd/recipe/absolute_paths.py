"""Absolute paths: a recipe then means the same from another folder."""

from dataclasses import replace
from typing import Any

from smskd.config.base import ComponentConfig
from smskd.config.data import DataConfig
from smskd.config.paths import expanded
from smskd.recipe.recipe import Recipe


def absolute_paths(recipe: Recipe) -> Recipe:
    """The recipe with its paths made absolute, so that it means the same from another folder."""
    stages = recipe.stages and tuple(
        replace(stage, teacher=_absolute_model(stage.teacher)) if stage.teacher else stage for stage in recipe.stages
    )
    store = recipe.runtime.store
    return replace(
        recipe,
        data=_absolute_data(recipe.data),
        student=_absolute_model(recipe.student),
        teacher=_absolute_model(recipe.teacher),
        stages=stages,
        runtime=recipe.runtime if store is None else replace(recipe.runtime, store=_absolute(store)),
    )


def _absolute_data(data: DataConfig) -> DataConfig:
    validation = data.validation
    if validation is not None and validation.source is not None:
        validation = replace(validation, source=_absolute_source(validation.source))
    return replace(data, source=_absolute_source(data.source), validation=validation)


def _absolute_source(source: ComponentConfig) -> ComponentConfig:
    root = source.options.get("root")
    return source if not isinstance(root, str) else replace(source, options={**source.options, "root": _absolute(root)})


def _absolute_model(model: Any) -> Any:
    if model is None:
        return None
    changes: dict[str, Any] = {}
    if model.weights is not None:
        changes["weights"] = _absolute(model.weights)
    if getattr(model, "others", ()):
        changes["others"] = tuple(map(_absolute_model, model.others))
    cache = getattr(model, "cache", None)
    if cache is not None and cache.folder is not None:
        changes["cache"] = replace(cache, folder=_absolute(cache.folder))
    return replace(model, **changes)


def _absolute(path: str) -> str:
    return str(expanded(path).resolve())
