"""The keys of a recipe, from the records that recipes are read into."""

import inspect
import re
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from generate.methods import text
from smskd.recipe.spec import (
    ComponentSpec,
    DataSpec,
    MethodSpec,
    ModelSpec,
    OptimizerSpec,
    Recipe,
    ScheduleSpec,
    StageSpec,
    TeacherSpec,
)

RECORDS: dict[str, type[BaseModel]] = {
    "recipe": Recipe,
    "data": DataSpec,
    "model": ModelSpec,
    "teacher": TeacherSpec,
    "optimizer": OptimizerSpec,
    "schedule": ScheduleSpec,
    "stage": StageSpec,
    "method": MethodSpec,
}
"""The tables of the page, by the word that asks for them."""

_ATTRIBUTES = re.compile(r"Attributes:\n(.*?)(?:\n\S|\Z)", re.DOTALL)
_ENTRY = re.compile(r"^ {4}(\w+(?:, \w+)*): (.*(?:\n {5,}.*)*)", re.MULTILINE)
_WORDS = {
    "Recipe.data": "The pictures.",
    "Recipe.teacher": "The network to learn from; without one, training is plain.",
    "Recipe.student": "The network to train.",
    "Recipe.test_batch_size": "Of measuring the accuracy.",
    "DataSpec.limit_seed": "Which pictures `train_limit` and `test_limit` take.",
}
"""Of keys that the record's docstring leaves to the page."""

_NAMES = {int: "whole number", float: "number", str: "text", bool: "true / false", dict: "mapping"}
_RECORD_NAMES: dict[type[BaseModel], str] = {
    DataSpec: "[data](#data)",
    ModelSpec: "[model](#teacher-and-student)",
    TeacherSpec: "[teacher](#teacher-and-student)",
    OptimizerSpec: "[optimizer](#optimizer)",
    ScheduleSpec: "[schedule](#schedule)",
    StageSpec: "[stage](#stages)",
    MethodSpec: "[method](#methods)",
    ComponentSpec: "[anchor](#anchor)",
}


def table(word: str) -> str:
    """The table of a record's keys.

    Raises:
        KeyError: no record of this name, or a key that nothing describes.
    """
    record = RECORDS[word]
    lines = ["| Key | Value | Default | |", "| --- | --- | --- | --- |"]
    for key, field in record.model_fields.items():
        lines.append(f"| `{key}` | {_type(field)} | {_default(field)} | {description(record, key)} |")
    return "\n".join(lines)


def description(record: type[BaseModel], key: str) -> str:
    """What a key is for, as Markdown.

    Raises:
        KeyError: nothing describes it.
    """
    written = _WORDS.get(f"{record.__name__}.{key}")
    return written if written is not None else _sentence(text(_described(record)[key]))


def _described(record: type[BaseModel]) -> dict[str, str]:
    """The entries of the docstring's section Attributes; one for several keys stands for each. A record that extends
    another one describes what it adds."""
    (base,) = record.__bases__
    inherited = _described(base) if issubclass(base, BaseModel) else {}
    section = _ATTRIBUTES.search(inspect.getdoc(record) or "")
    entries = _ENTRY.findall(section[1] if section else "")
    return inherited | {key: " ".join(words.split()) for keys, words in entries for key in keys.split(", ")}


def _sentence(words: str) -> str:
    words = words[:1].upper() + words[1:]
    return words if words.endswith(".") else words + "."


def _type(field: FieldInfo) -> str:
    return _named(field.annotation) + _range(field.metadata)


def _named(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _named(arguments[0]) + _range(arguments[1:])
    if origin is Literal:
        return " / ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_named(part) for part in arguments if part is not type(None))
    if origin is tuple:
        if Ellipsis in arguments:
            return f"list of: {_named(arguments[0])}"
        return f"[{', '.join(map(_named, arguments))}]"
    if origin is dict:
        return "mapping"
    return _RECORD_NAMES.get(hint) or _NAMES[hint]


def _range(constraints: Any) -> str:
    words = []
    for constraint in constraints:
        for kind, attribute, sign in ((Ge, "ge", "≥"), (Gt, "gt", ">"), (Le, "le", "≤"), (Lt, "lt", "<")):
            if isinstance(constraint, kind):
                words.append(f"{sign} {getattr(constraint, attribute)}")
    return f" {', '.join(words)}" if words else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.default if field.default is not PydanticUndefined else field.get_default(call_default_factory=True)
    if value is None:
        return "nothing"
    if isinstance(value, BaseModel):
        own = getattr(value, "name", None)
        return f"`{own}`" if isinstance(value, ComponentSpec) else "see there"
    if isinstance(value, tuple | list):
        return f"`[{', '.join(map(str, value))}]`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value != {} else "`{}`"
