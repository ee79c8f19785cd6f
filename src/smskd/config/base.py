"""Settings as frozen dataclasses that check their values, whoever makes them: a recipe or a Python program."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, cast, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from smskd.config.messages import mistake
from smskd.config.plain_values import problem_in
from smskd.errors import UserError


class SettingError(UserError, ValueError):
    """A mistake in the settings of one object.

    As a ValueError it is collected by pydantic, so that the error of a recipe has the whole path.

    Attributes:
        reason: what is wrong.
        key: of the field, with the place within it; empty: the fields do not fit together.
    """

    def __init__(self, reason: str, key: str = "") -> None:
        super().__init__(f"{key}: {reason}" if key else reason)
        self.reason = reason
        self.key = key


class Config:
    """Base of the dataclasses of settings. A value of a wrong type or out of range raises a UserError.

    The type of a field, with the limits in its ``Annotated``, is checked both when a recipe is read and when an object
    is made in Python.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        for name, adapter in _adapters(cast(Any, type(self))).items():
            try:
                value = adapter.validate_python(getattr(self, name))
            except ValidationError as error:
                first = error.errors()[0]
                path = ".".join([name, *(str(part) for part in first["loc"] if isinstance(part, int))])
                raise SettingError(mistake(first), path) from None
            problem = problem_in(_options(value), name)
            if problem is not None:
                raise SettingError(problem.reason, problem.path)
            object.__setattr__(self, name, value)


@cache
def _adapters(cls: type[Any]) -> dict[str, TypeAdapter[Any]]:
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: TypeAdapter(hints[field.name]) for field in fields(cls)}


@dataclass(frozen=True)
class ComponentConfig:
    """Something by its name, with options of its own: ``{name: kd, weight: 0.9, temperature: 4}``.

    Attributes:
        name: built-in, of an installed entry point, or ``package.module:Name``.
        options: everything beside the name; the thing that is named checks them.
    """

    name: str
    options: dict[str, Any]

    @classmethod
    def of(cls, value: Any) -> Any:
        """The component of a name or of a mapping with a name; anything else is returned as it is."""
        if isinstance(value, str):
            return cls(value, {})
        if isinstance(value, dict) and isinstance(value.get("name"), str):
            return cls(value["name"], {key: item for key, item in value.items() if key != "name"})
        return value

    def as_mapping(self) -> dict[str, Any]:
        """As a recipe has it."""
        return {"name": self.name, **self.options}


def plain(value: Any) -> Any:
    """Settings as a recipe's YAML has them: mappings, lists, texts and numbers."""
    if isinstance(value, ComponentConfig):
        return {key: plain(item) for key, item in value.as_mapping().items()}
    if isinstance(value, Config):
        return {field.name: plain(getattr(value, field.name)) for field in fields(cast(Any, value))}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _options(value: Any) -> Any:
    """Components as mappings, so that their options can be looked at; other values as they are."""
    if isinstance(value, ComponentConfig):
        return value.as_mapping()
    if isinstance(value, list | tuple):
        return [_options(item) for item in value]
    return value if isinstance(value, Mapping) or not isinstance(value, Config) else None
