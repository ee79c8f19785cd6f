"""Tables of the keys of a recipe, from the dataclasses that recipes are read into."""

import inspect
import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from generate.methods import text
from smskd.config import augmentation, cache, data, models, optimization, runtime, stage, sweep
from smskd.config.base import ComponentConfig
from smskd.interfaces.terms import Method
from smskd.recipe import recipe
from smskd.registry import ANCHORS

SETTINGS: dict[str, type[Any]] = {
    "recipe": recipe.Recipe,
    "training": recipe.TrainingConfig,
    "data": data.DataConfig,
    "subset": data.SubsetConfig,
    "validation": data.ValidationConfig,
    "augmentation": augmentation.AugmentationConfig,
    "random_resized_crop": augmentation.RandomResizedCropConfig,
    "policy": augmentation.PolicyConfig,
    "color_jitter": augmentation.ColorJitterConfig,
    "random_erasing": augmentation.RandomErasingConfig,
    "loader": data.LoaderConfig,
    "model": models.ModelConfig,
    "teacher": models.TeacherConfig,
    "further": models.FurtherTeacherConfig,
    "cache": cache.CacheConfig,
    "optimizer": optimization.OptimizerConfig,
    "schedule": optimization.ScheduleConfig,
    "stage": stage.StageConfig,
    "runtime": runtime.RuntimeConfig,
    "sweep": sweep.SweepConfig,
    "orders": sweep.OrdersConfig,
    "search": sweep.SearchConfig,
    **{name: ANCHORS.find(name) for name in ("reference_kl", "toward_reference", "l2_sp", "ewc", "mean_teacher")},
}
"""The tables of the page, by the word that asks for them."""

_HEADINGS = {
    "training": "training",
    "data": "data",
    "subset": "subset",
    "validation": "validation",
    "augmentation": "augmentation",
    "random_resized_crop": "random-resized-crop",
    "policy": "policy",
    "color_jitter": "colour-jitter",
    "random_erasing": "random-erasing",
    "loader": "loader",
    "model": "teacher-and-student",
    "teacher": "teacher-and-student",
    "further": "several-teachers",
    "cache": "the-teachers-cache",
    "optimizer": "optimizer",
    "schedule": "schedule",
    "stage": "stages",
    "runtime": "runtime",
    "orders": "orders",
    "search": "search",
}
"""Anchors of the headings under which the tables of nested settings are."""

_WORDS: tuple[tuple[Any, str], ...] = (
    (optimization.Epoch, "epoch or share"),
    (cache.Size, "size"),
    (data.Source, "name or mapping"),
    (stage.Component, "name or mapping"),
    (stage.OptionalComponent, "name or mapping"),
    (Method, "method"),
    (int, "whole number"),
    (float, "number"),
    (str, "text"),
    (bool, "true / false"),
)
_ATTRIBUTES = re.compile(r"Attributes:\n(.*?)(?:\n\S|\Z)", re.DOTALL)
_ENTRY = re.compile(r"^ {4}(\w+(?:, \w+)*): (.*(?:\n {5,}.*)*)", re.MULTILINE)
_NONE = re.compile(r"\bNone\b")
_ROLE = re.compile(r":\w+:`~?(?:[a-z_]+\.)*(\w+)`")


def table(word: str) -> str:
    """The table of the keys of some settings.

    Raises:
        KeyError: there are no settings of this name, or a key has no description.
    """
    cls = SETTINGS[word]
    hints = get_type_hints(cls, include_extras=True)
    rows = [
        f"| `{field.name}` | {_type(hints[field.name])} | {_default(field)} | {description(cls, field.name)} |"
        for field in fields(cls)
    ]
    return "\n".join(["| Key | Value | Default | |", "| --- | --- | --- | --- |", *rows])


def description(cls: type[Any], key: str) -> str:
    """The description of a key, as Markdown.

    Raises:
        KeyError: there is none.
    """
    words = _described(cls)[key]
    if words.startswith("see "):  # nested settings have a section of their own
        nested = next(part for part in _parts(get_type_hints(cls)[key]) if is_dataclass(part))
        words = (inspect.getdoc(nested) or "").partition("\n\n")[0]
    words = text(_NONE.sub("null", _ROLE.sub(r"`\1`", " ".join(words.split()))))
    words = words[:1].upper() + words[1:]
    return words if words.endswith(".") else words + "."


def _described(cls: type[Any]) -> dict[str, str]:
    """The entries of the docstring's section Attributes, and those of the base class that it refers to."""
    inherited = {key: words for base in cls.__bases__ if is_dataclass(base) for key, words in _described(base).items()}
    section = _ATTRIBUTES.search(inspect.getdoc(cls) or "")
    entries = _ENTRY.findall(section[1] if section else "")
    own = {key: words for keys, words in entries for key in keys.split(", ")}
    return {**own, **{key: words for key, words in inherited.items() if own.get(key, "see ").startswith("see ")}}


def _parts(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType, Annotated) else (hint,)


def _type(hint: Any) -> str:
    for known, words in _WORDS:
        if hint == known:
            return words
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _type(arguments[0]) + _range(arguments[1:])
    if origin is Literal:
        return " / ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(part) for part in arguments if part is not type(None))
    if origin is tuple:
        return f"list of: {_type(arguments[0])}"
    if origin in (dict, Mapping):
        return "mapping"
    word = next(word for word, cls in SETTINGS.items() if cls is hint)
    return f"[{word}](#{_HEADINGS[word]})"


def _range(metadata: tuple[Any, ...]) -> str:
    limits = [limit for item in metadata for limit in (item.metadata if isinstance(item, FieldInfo) else [item])]
    signs = ((Ge, "ge", "≥"), (Gt, "gt", ">"), (Le, "le", "≤"), (Lt, "lt", "<"))
    words = [
        f"{sign} {getattr(limit, name)}" for limit in limits for kind, name, sign in signs if isinstance(limit, kind)
    ]
    return f" {', '.join(words)}" if words else ""


def _default(field: Field[Any]) -> str:
    if field.default_factory is dict:
        return "`{}`"
    if field.default_factory is not MISSING:
        return "see there"
    value = field.default
    if value is MISSING:
        return "required"
    if value is None:
        return "`null`"
    if isinstance(value, ComponentConfig):
        return f"`{value.name}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
